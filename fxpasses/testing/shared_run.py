"""`SharedRun`: several laws look at the same examples, and each stays a test of its own.

Drawing and tracing a model takes longer than most laws take to look at it: over the same examples, many laws cost little
more than one. A law that fails runs once more by itself, so that hypothesis finds its smallest example.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any
from unittest import SkipTest

import torch

from fxpasses.errors import MissingExtraError

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.errors import StopTest, UnsatisfiedAssumption
except ImportError as error:
    message = "fxpasses.testing.SharedRun needs hypothesis: pip install 'fxpasses[testing]'"
    raise MissingExtraError(message) from error

Check = Callable[..., None]

_LEAST_SHARE = 0.1
"""How many of its examples a law must not have rejected; hypothesis gives up at about that share too."""
_IN_COMPANY = "It failed beside other laws and not by itself; so this may not be the smallest example:"
# What ends an example, or the whole run, says nothing of the law that it comes out of.
_NO_FAILURES = (StopTest, KeyboardInterrupt, SystemExit, GeneratorExit)


class VacuousLawError(AssertionError):
    """A law that passed because it never looked at anything."""


class SharedRun:
    """A run over examples that several laws look at.

    The tests share the run under pytest, whose plugin tells it which of them are selected; the first of them then
    takes as long as all of them. Called in another way, or by a worker of pytest-xdist that may not get the others, a
    test runs by itself: `--dist loadfile` and `--dist loadgroup` keep together what is shared.

    Args:
        strategies: What an example is drawn from. A law takes as many arguments, or fewer: the first ones.
        settings: The settings of hypothesis; by default those of the profile, without a deadline: how long an example
            takes depends on the model that is drawn.

    Example:
        >>> from fxpasses.testing.strategies import cases
        >>> over_cases = SharedRun(cases(max_nodes=3), st.data(), settings=settings(max_examples=5, database=None))
        >>> @over_cases.law
        ... def test_a_model_takes_something(case):
        ...     assert case.args or case.kwargs
        >>> @over_cases.law
        ... def test_a_model_has_the_same_inputs_each_time(case, data):
        ...     assert len(case.build().args) == len(case.args)
        >>> test_a_model_takes_something()
    """

    def __init__(self, *strategies: st.SearchStrategy[Any], settings: settings | None = None) -> None:
        self.strategies = strategies
        self.settings = settings or patient()
        self._first = ""
        self._selected: list[SharedLaw] = []
        self._has_run = False

    def law(self, check: Check) -> Callable[[], None]:
        """Make a test of a law: a function of an example that raises unless the law holds."""
        law = self.add(check)

        def test() -> None:
            __tracebackhide__ = True
            law()

        # Examples are the law's own: hypothesis finds fault with a test that has some and is not its own.
        marks = {name: value for name, value in vars(check).items() if name != "hypothesis_explicit_examples"}
        test.__dict__.update(marks, shared_law=law, __wrapped__=check, __signature__=inspect.Signature())
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(test, name, getattr(check, name))
        return test

    def add(self, check: Check) -> SharedLaw:
        """Make a law, for a test that does more than to check it; the test has to have it as its `shared_law`."""
        self._first = self._first or re.sub(r"\W", "_", f"{check.__module__}_{check.__qualname__}")
        return SharedLaw(self, check)

    def select(self, laws: Collection[SharedLaw]) -> None:
        """Say which laws are going to be tested, and in this process; only they look at the examples."""
        self._selected = [law for law in laws if law.run is self]

    def is_shared_by(self, law: SharedLaw) -> bool:
        """Whether a law looks at examples together with another one."""
        return law in self._selected and len(self._selected) > 1

    def run_once(self) -> None:
        """Show examples to all selected laws, unless that has happened already; without one that fails, from the start."""
        laws = [] if self._has_run else self._selected
        while laws:
            try:
                self._show_examples_to(laws)
                break
            except Exception:
                if not any(law.failure for law in laws):
                    raise  # not from a law: something is wrong with the strategies
            laws = [law for law in laws if not law.failure]
        self._has_run = True

    def _show_examples_to(self, laws: Collection[SharedLaw]) -> None:
        def examples(drawn: tuple[Any, ...]) -> None:
            for law in laws:
                law.look_at(drawn)

        examples.__name__ = examples.__qualname__ = self._first  # hypothesis draws by the name
        once = settings(self.settings, database=None, phases=(Phase.generate,), report_multiple_bugs=False)
        for law in laws:
            law.begin()
        once(given(drawn=st.tuples(*self.strategies))(examples))()


class _FailedError(Exception):
    """Ends a run in which a law failed; the law knows why."""


class SharedLaw:
    """One law of a shared run; a call raises what is wrong with it.

    Attributes:
        run: The run.
        alone: The law as a test of hypothesis.
        failure: What the law raised for an example of the run.
    """

    def __init__(self, run: SharedRun, check: Check) -> None:
        names = list(inspect.signature(check).parameters)
        drawn = dict(zip(names, run.strategies, strict=False))
        self.run = run
        self.alone: Any = run.settings(given(**drawn)(check))
        known = settings(run.settings, phases=(Phase.explicit, Phase.reuse))
        self._on_known_examples = known(given(**drawn)(check))
        self._check = check
        self._arity = len(names)
        self.failure: BaseException | None = None
        self._failed_on = ""
        self._held = self._rejected = 0

    def __call__(self) -> None:
        """Raise unless the law holds for every example."""
        __tracebackhide__ = True
        if not self.run.is_shared_by(self):
            self.alone()
            return
        with suppress(SkipTest):  # there are none
            self._on_known_examples()
        self.run.run_once()
        if self.failure is not None:
            self.alone()
            print(f"{_IN_COMPANY}\n{self._failed_on}")  # noqa: T201 - pytest shows it with the failure
            raise self.failure
        if self._held < _LEAST_SHARE * (self._held + self._rejected):
            raise VacuousLawError(f"only {self._held} of {self._held + self._rejected} examples met the assumptions")

    def begin(self) -> None:
        """Forget how often the law held."""
        self._held = self._rejected = 0

    def look_at(self, drawn: tuple[Any, ...]) -> None:
        """Note whether the law holds for an example."""
        torch.default_generator.manual_seed(0)
        try:
            self._check(*drawn[: self._arity])
        except UnsatisfiedAssumption:
            self._rejected += 1
        except _NO_FAILURES:
            raise
        except BaseException as failure:  # pytest's own failures are no `Exception`
            self.failure, self._failed_on = failure, repr(drawn[: self._arity])
            raise _FailedError from None
        else:
            self._held += 1


def select(laws: Collection[SharedLaw]) -> None:
    """Say which laws are going to be tested in this process; those of one run then share it."""
    for run in {law.run for law in laws}:
        run.select(laws)


def patient() -> settings:
    """The profile's settings, for examples that take as long as the model that is drawn."""
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    return settings(deadline=None, suppress_health_check=sorted({*settings().suppress_health_check, *slow}, key=str))
