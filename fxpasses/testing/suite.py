"""`pass_suite`: a class of pytest tests, one a law."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import SkipTest

from fxpasses.errors import MissingExtraError
from fxpasses.testing.case import Case
from fxpasses.testing.checks import check_pass
from fxpasses.testing.laws.claims import laws_for
from fxpasses.testing.laws.law import FIRED, NOTHING_CLAIMED, Law, PassLike, name_of


class VacuousLawError(AssertionError):
    """A law that passed because it never looked at anything."""


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

    After its examples, each test checks that its law looked at what there is to look at: a law that never does is
    no evidence. A law about what a pass says of itself is skipped for a function that says nothing.

    Args:
        pass_: The pass.
        laws: The laws; by default those that the pass claims.
        strategy: A hypothesis strategy for cases; by default `strategies.cases()`.
        settings: Hypothesis settings for every test; by default those of the profile, without a deadline: how long
            an example takes depends on the model that is drawn.
        allowed: Errors that the pass documents.
        vacuous: By the name of a law, the aspects that it has no occasion to look at with this pass, such as
            `{"Equivalent": ["the graph was changed"]}` for a pass that changes nothing.

    Raises:
        MissingExtraError: hypothesis is not installed.

    Example:
        >>> suite = pass_suite(lambda graph_module: None)
        >>> [name for name in vars(suite) if name.startswith("test")][:3]
        ['test_well_formed', 'test_equivalent', 'test_preserves_input']
    """
    tests = {
        f"test_{law.slug}": _test(pass_, law, strategy, settings, allowed, (vacuous or {}).get(law.name, ()))
        for law in (laws_for(pass_) if laws is None else laws)
    }
    return type(f"Test{name_of(pass_)}", (), {"__doc__": f"The laws of {name_of(pass_)}.", **tests})


def _test(
    pass_: PassLike,
    law: Law,
    strategy: Any,
    settings: Any,
    allowed: tuple[type[Exception], ...],
    vacuous: Sequence[str],
) -> Callable[[Any], None]:
    try:
        from hypothesis import given

        from fxpasses.testing import strategies
    except ImportError as error:
        raise MissingExtraError("pass_suite needs hypothesis: pip install 'fxpasses[testing]'") from error

    @given(case=strategy if strategy is not None else strategies.cases())
    def examples(case: Case) -> None:
        __tracebackhide__ = True
        check_pass(pass_, case, laws=[law], allowed=allowed)

    run = (settings or _patient())(examples)

    def test(self: Any) -> None:  # noqa: ARG001 - a method
        __tracebackhide__ = True
        before = FIRED.copy()
        run()
        idle = [aspect for aspect in law.aspects if FIRED[law.name, aspect] == before[law.name, aspect]]
        idle = [aspect for aspect in idle if aspect not in vacuous]
        if idle and FIRED[law.name, NOTHING_CLAIMED] > before[law.name, NOTHING_CLAIMED]:
            raise SkipTest("the pass claims nothing that this law could find wrong")
        if idle:
            raise VacuousLawError(f"{law.name} was not broken, and never looked at: {', '.join(idle)}")

    test.__doc__ = (type(law).__doc__ or "").partition("\n")[0]
    return test


def _patient() -> Any:
    """The profile's settings, for examples that take as long as the model that is drawn."""
    from hypothesis import HealthCheck, settings

    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    suppressed = {*settings().suppress_health_check, *slow}
    return settings(deadline=None, suppress_health_check=sorted(suppressed, key=str))
