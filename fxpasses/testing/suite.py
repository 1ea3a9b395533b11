"""`pass_suite`: a class of pytest tests, one a law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from fxpasses.errors import ArgumentTypeError, MissingExtraError
from fxpasses.testing.case import Case
from fxpasses.testing.checks import Trials, check_trial
from fxpasses.testing.laws.claims import laws_for
from fxpasses.testing.laws.law import FIRED, NOTHING_CLAIMED, Law, PassLike, name_of

if TYPE_CHECKING:
    from fxpasses.testing.shared_run import SharedRun


def pass_suite(
    pass_: PassLike,
    *,
    laws: Sequence[Law] | None = None,
    strategy: Any = None,
    settings: Any = None,
    allowed: tuple[type[Exception], ...] = (),
    vacuous: Mapping[str, Sequence[str]] | None = None,
) -> type:
    """Makes a class that pytest collects, with one property test for each law.

    The tests share a run over the examples, and what the pass makes of each; see `SharedRun`. After it, each test
    checks that its law looked at what there is to look at: a law that never does is no evidence. A law about what a
    pass says of itself is skipped for a function that says nothing.

    Args:
        pass_: The pass.
        laws: The laws; by default those that the pass claims.
        strategy: A hypothesis strategy for cases; by default `strategies.cases()`. Or a `SharedRun` over such a strategy,
            to share its examples with other laws, and with the suites of other passes.
        settings: Hypothesis settings for every test; by default those of the profile, without a deadline: how long
            an example takes depends on the model that is drawn. A `SharedRun` has its own.
        allowed: Errors that the pass documents.
        vacuous: By the name of a law, the aspects that it has no occasion to look at with this pass, such as
            `{"Equivalent": ["the graph was changed"]}` for a pass that changes nothing.

    Raises:
        MissingExtraError: hypothesis is not installed.
        ArgumentTypeError: Settings were given beside a `SharedRun`.

    Example:
        >>> suite = pass_suite(lambda graph_module: None)
        >>> [name for name in vars(suite) if name.startswith("test")][:3]
        ['test_well_formed', 'test_equivalent', 'test_preserves_input']
    """
    over_cases = _shared_run(strategy, settings)
    trials = Trials(pass_)
    tests = {
        f"test_{law.slug}": _test(trials, law, over_cases, allowed, (vacuous or {}).get(law.name, ()))
        for law in (laws_for(pass_) if laws is None else laws)
    }
    return type(f"Test{name_of(pass_)}", (), {"__doc__": f"The laws of {name_of(pass_)}.", **tests})


def _shared_run(strategy: Any, settings: Any) -> SharedRun:
    try:
        from fxpasses.testing import strategies
        from fxpasses.testing.shared_run import SharedRun
    except MissingExtraError as error:
        raise MissingExtraError("pass_suite needs hypothesis: pip install 'fxpasses[testing]'") from error
    if isinstance(strategy, SharedRun):
        if settings is not None:
            raise ArgumentTypeError("pass_suite got settings and a SharedRun: give the settings to the SharedRun.")
        return strategy
    return SharedRun(strategies.cases() if strategy is None else strategy, settings=settings)


def _test(
    trials: Trials, law: Law, over_cases: SharedRun, allowed: tuple[type[Exception], ...], vacuous: Sequence[str]
) -> Callable[[Any], None]:
    fired: Counter[str] = Counter()

    def holds(case: Case) -> None:
        __tracebackhide__ = True
        before = {aspect: FIRED[law.name, aspect] for aspect in (*law.aspects, NOTHING_CLAIMED)}
        check_trial(trials.of(case, law), [law], allowed)
        fired.update({aspect: FIRED[law.name, aspect] - count for aspect, count in before.items()})

    holds.__qualname__ = f"{name_of(trials.pass_)}.{law.slug}"
    shared_law = over_cases.add(holds)

    def test(self: Any) -> None:  # noqa: ARG001 - a method
        __tracebackhide__ = True
        shared_law()
        _check_that_it_looked(law, fired, vacuous)

    test.__doc__ = (type(law).__doc__ or "").partition("\n")[0]
    test.__dict__.update(shared_law=shared_law)
    return test


def _check_that_it_looked(law: Law, fired: Counter[str], vacuous: Sequence[str]) -> None:
    from fxpasses.testing.shared_run import VacuousLawError

    idle = [aspect for aspect in law.aspects if not fired[aspect] and aspect not in vacuous]
    if idle and fired[NOTHING_CLAIMED]:
        raise SkipTest("the pass claims nothing that this law could find wrong")
    if idle:
        raise VacuousLawError(f"{law.name} was not broken, and never looked at: {', '.join(idle)}")
