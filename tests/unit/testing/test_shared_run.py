"""What laws share in a run, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, example, settings
from hypothesis import strategies as st

from fxpasses import testing as fxt
from fxpasses.errors import ArgumentTypeError
from fxpasses.testing import pytest_plugin
from fxpasses.testing.strategies import cases

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)


class Laws:
    """A shared run over numbers, and what each law saw."""

    def __init__(self, *checks: Callable[..., None]) -> None:
        self.drawn: list[int] = []
        self.seen: list[list[int]] = [[] for _ in checks]
        numbers = st.integers(0, 1000).map(self._note)
        self.run = fxt.SharedRun(numbers, st.data(), settings=FEW)
        self.tests = [self.run.law(self._watched(check, seen)) for check, seen in zip(checks, self.seen, strict=True)]

    def _note(self, number: int) -> int:
        self.drawn.append(number)
        return number

    def _watched(self, check: Callable[..., None], seen: list[int]) -> Callable[..., None]:
        def law(number: int, data: st.DataObject) -> None:
            seen.append(number)
            check(number, data)

        return law

    def select(self, *, dealt_out: str | None = None) -> None:
        """Does what pytest does when it has collected the tests."""
        items = [SimpleNamespace(obj=test) for test in self.tests]
        config = SimpleNamespace(workerinput={"fxpasses_dist": dealt_out} if dealt_out else {})
        pytest_plugin.pytest_collection_finish(SimpleNamespace(items=items, config=config))  # pyright: ignore


def holds(number: int, data: st.DataObject) -> None:
    data.draw(st.booleans())


def fails_above_99(number: int, data: st.DataObject) -> None:
    assert number < 100


def test_laws_that_are_selected_together_see_the_same_examples() -> None:
    laws = Laws(holds, holds, holds)
    laws.select()
    for test in laws.tests:
        test()
    assert laws.seen[0] == laws.seen[1] == laws.seen[2] == laws.drawn
    assert len(set(laws.drawn)) > 15


@pytest.mark.parametrize("dealt_out", ["loadfile", "loadgroup", "loadscope"])
def test_a_worker_that_gets_all_tests_of_a_file_shares_them(dealt_out: str) -> None:
    laws = Laws(holds, holds)
    laws.select(dealt_out=dealt_out)
    laws.tests[0]()
    assert laws.seen[0] == laws.seen[1] != []


def test_a_law_runs_by_itself_where_nobody_says_what_is_selected() -> None:
    laws = Laws(holds, holds)
    laws.tests[0]()
    assert laws.seen[0] != []
    assert laws.seen[1] == []


@pytest.mark.parametrize("dealt_out", pytest_plugin.DEALT_OUT_ONE_BY_ONE)
def test_a_law_runs_by_itself_in_a_worker_that_may_not_get_the_others(dealt_out: str) -> None:
    laws = Laws(holds, holds)
    laws.select(dealt_out=dealt_out)
    laws.tests[0]()
    assert laws.seen[1] == []


def test_a_law_that_is_not_selected_is_not_run() -> None:
    laws = Laws(holds, holds, holds)
    laws.tests, left_out = laws.tests[:2], laws.seen[2]
    laws.select()
    laws.tests[0]()
    assert left_out == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_law_that_fails_is_shrunk_and_the_others_see_all_their_examples(order: tuple[int, int]) -> None:
    laws = Laws(holds, fails_above_99)
    laws.select()
    for index in order:
        if index == 0:
            laws.tests[0]()
        else:
            with pytest.raises(AssertionError):
                laws.tests[1]()
            assert laws.seen[1][-1] == 100
    assert len(laws.seen[0]) >= FEW.max_examples


def test_failures_of_pytest_are_failures() -> None:
    def raises_nothing(number: int, data: st.DataObject) -> None:
        with pytest.raises(ZeroDivisionError):
            float(number)

    laws = Laws(holds, raises_nothing)
    laws.select()
    laws.tests[0]()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        laws.tests[1]()


def test_a_law_that_fails_beside_others_alone_fails_with_what_it_raised(capsys: pytest.CaptureFixture[str]) -> None:
    others: list[int] = []

    def fails_after_another(number: int, data: st.DataObject) -> None:
        assert not others

    laws = Laws(lambda number, data: others.append(number), fails_after_another)
    laws.select()
    laws.tests[0]()
    others.clear()
    with pytest.raises(AssertionError, match=r"assert not \["):
        laws.tests[1]()
    assert "It failed beside other laws and not by itself" in capsys.readouterr().out


def test_assumptions_of_one_law_are_none_of_another_and_some_examples_must_meet_them() -> None:
    def assumes_half(number: int, data: st.DataObject) -> None:
        assume(number % 2)
        odd.append(number)

    odd: list[int] = []
    laws = Laws(holds, assumes_half, lambda number, data: assume(False))
    laws.select()
    laws.tests[0]()
    laws.tests[1]()
    assert len(laws.seen[0]) >= FEW.max_examples > len(odd) > 0
    with pytest.raises(fxt.VacuousLawError, match=r"only 0 of \d+ examples met the assumptions"):
        laws.tests[2]()


def test_each_law_finds_the_generator_of_random_numbers_as_if_it_were_alone() -> None:
    drawn: list[float] = []
    laws = Laws(*[lambda number, data: drawn.append(torch.rand(()).item())] * 2)
    laws.select()
    laws.tests[0]()
    assert len(set(drawn)) == 1


def test_explicit_examples_are_tried_first() -> None:
    run = fxt.SharedRun(st.integers(0, 1000), settings=FEW)

    @run.law
    @example(-1)
    def is_positive(number: int) -> None:
        assert number >= 0

    @run.law
    def is_any(number: int) -> None:
        """Takes any number."""

    Laws.select(SimpleNamespace(tests=[is_positive, is_any]))  # pyright: ignore
    with pytest.raises(AssertionError, match="assert -1 >= 0"):
        is_positive()
    is_any()
    assert is_any.__doc__ == "Takes any number."
    assert not hasattr(is_positive, "hypothesis_explicit_examples")  # hypothesis has pytest refuse a test with some


def test_what_goes_wrong_while_an_example_is_drawn_is_raised_for_each_law() -> None:
    def refuse(number: int) -> Any:
        raise LookupError("there is none")

    run = fxt.SharedRun(st.integers().map(refuse), settings=FEW)
    tests = [run.law(lambda number: None), run.law(lambda number: None)]
    Laws.select(SimpleNamespace(tests=tests))  # pyright: ignore
    for test in tests:
        with pytest.raises(LookupError, match="there is none"):
            test()


def test_the_laws_of_a_pass_share_what_the_pass_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    suite = fxt.pass_suite(ran.append, laws=[fxt.WellFormed(), fxt.Equivalent()], settings=FEW)
    tests = [getattr(suite(), name) for name in ("test_well_formed", "test_equivalent")]
    Laws.select(SimpleNamespace(tests=tests))  # pyright: ignore
    tests[0]()
    with pytest.raises(fxt.VacuousLawError, match="Equivalent was not broken, and never looked at: the graph was"):
        tests[1]()
    assert FEW.max_examples <= len(ran) < 1.5 * FEW.max_examples


def test_suites_of_several_passes_share_a_run() -> None:
    seen: dict[str, list[str]] = {"one": [], "other": []}
    run = fxt.SharedRun(cases(max_nodes=3), st.data(), settings=FEW)
    suites = [
        fxt.pass_suite(lambda gm, codes=codes: codes.append(gm.code), laws=[fxt.WellFormed()], strategy=run)
        for codes in seen.values()
    ]
    tests = [suite().test_well_formed for suite in suites]  # pyright: ignore
    Laws.select(SimpleNamespace(tests=tests))  # pyright: ignore
    tests[0]()
    assert len(seen["one"]) >= FEW.max_examples
    assert seen["one"] == seen["other"]
    tests[1]()
    assert seen["one"] == seen["other"]


def test_a_shared_run_has_its_own_settings() -> None:
    with pytest.raises(ArgumentTypeError, match="give the settings to the SharedRun"):
        fxt.pass_suite(holds, strategy=fxt.SharedRun(cases()), settings=FEW)
