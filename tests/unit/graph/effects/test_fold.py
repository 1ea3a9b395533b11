"""Comparisons decide only where what they compare is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _with_another(a: Any, b: Any) -> Any:
    return a.clone() if a is b else a.add_(1)


def _with_none(a: Any, b: Any) -> Any:
    return a.add_(1) if b is None else a.clone()


def _of_none(a: Any, b: Any) -> Any:
    return a.add_(1) if None is b else a.clone()


def _of_text(a: Any, b: Any) -> Any:
    return a.add_(1) if "row" in b else a.clone()


@pytest.mark.parametrize("function", [_with_another, _with_none, _of_none, _of_text])
def test_a_comparison_with_what_is_not_known_may_come_out_either_way(function: Callable[..., Any]) -> None:
    assert behaviour_from_source(function, False, (_A, _B), {}).writes == {0}


@pytest.mark.parametrize("text", ["rows", "columns"])
def test_whether_a_text_holds_another_may_come_out_either_way(text: str) -> None:
    assert behaviour_from_source(_of_text, False, (_A, text), {}).writes == {0}


@pytest.mark.parametrize("function", [_with_none, _of_none])
@pytest.mark.parametrize("constant", [None, 3])
def test_a_comparison_of_constants_decides(function: Callable[..., Any], constant: object) -> None:
    writes = behaviour_from_source(function, False, (_A, constant), {}).writes
    assert writes == ({0} if constant is None else set())


class _Answers:
    """Notes whenever it is compared or added."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        self.asked += 1
        return True

    def __add__(self, other: object) -> int:
        self.asked += 1
        return 1

    __radd__ = __add__
    __hash__ = None  # type: ignore[assignment]


_answers, _answers_too = _Answers(), _Answers()


def _equal_to_it(a: Tensor) -> Tensor:
    return a.add_(1) if 3 == _answers else a.clone()  # noqa: SIM300 - the order is what is tested


def _it_is_equal(a: Tensor) -> Tensor:
    return a.add_(1) if _answers == 3 else a.clone()


def _added_to_it(a: Tensor) -> Tensor:
    return a + (3 + _answers)


def _it_is_added(a: Tensor) -> Tensor:
    return a + (_answers + 3)


def _either_of_two(a: Tensor) -> Any:
    return _answers_too if a.sum() > 0 else _answers


def _either_of_two_the_other_way_round(a: Tensor) -> Any:
    return _answers if a.sum() > 0 else _answers_too


@pytest.mark.parametrize(
    "function",
    [_equal_to_it, _it_is_equal, _added_to_it, _it_is_added, _either_of_two, _either_of_two_the_other_way_round],
)
def test_no_operator_of_an_object_is_run(function: Callable[..., Any]) -> None:
    before = _answers.asked
    behaviour_from_source(function, False, (_A,), {})
    assert _answers.asked == before


_ran: list[int] = []


def test_no_function_is_run() -> None:
    def calls_with_a_number(a: Tensor) -> None:
        _ran.append(3)
        _noting(3)

    behaviour_from_source(calls_with_a_number, False, (_A,), {})
    assert not _ran


class _Folder:
    def __call__(self) -> None:
        _ran.append(3)

    def named_children(self) -> list[tuple[str, nn.Module]]:
        _ran.append(3)
        return []

    children = named_children


_folder = _Folder()


def test_no_method_of_an_object_is_run() -> None:
    def lists(a: Tensor) -> Any:
        return _folder.children(), _folder.named_children()

    behaviour_from_source(lists, False, (_A,), {})
    assert not _ran


def test_no_method_of_a_module_is_run() -> None:
    layer = nn.Dropout().train()

    def switches(a: Tensor) -> Tensor:
        layer.eval()
        return a.clone()

    behaviour_from_source(switches, False, (_A,), {})
    assert layer.training


class _NotesWhoGoesThrough(nn.ModuleList):
    def __iter__(self) -> Iterator[nn.Module]:
        _ran.append(3)
        return super().__iter__()


def test_going_through_modules_runs_nothing() -> None:
    layers = _NotesWhoGoesThrough([nn.ReLU(), nn.ReLU()])

    def applies_each(a: Tensor) -> Tensor:
        for layer in layers:
            a = layer(a)
        return a

    behaviour_from_source(applies_each, False, (_A,), {})
    assert not _ran


def test_a_module_whose_name_is_not_known_gets_no_more_than_it_is_passed() -> None:
    table = nn.ModuleDict({"only": nn.ReLU()})

    def looks_up(a: Tensor, b: Tensor) -> Any:
        return table[str(a.shape[0])](a)

    writes = behaviour_from_source(looks_up, False, (_A, _B), {}).writes
    assert 0 in writes
    assert 1 not in writes


def _noting(number: int) -> None:
    _ran.append(number)


def _asks_whether_it_is_a_parameter(a: Tensor) -> Tensor:
    return a.add_(1) if isinstance(a, nn.Parameter) else a.clone()


def _asks_whether_it_is_a_list(a: Any) -> Any:
    return a.add_(1) if isinstance(a, (list, tuple)) else a.clone()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("function", "kind", "writes"),
    [
        (_asks_whether_it_is_a_parameter, "tensor", {0}),
        (_asks_whether_it_is_a_list, "any", {0}),
        (_asks_whether_it_is_a_list, "tensor", set()),
    ],
)
def test_what_class_a_value_has_decides_where_its_kind_tells(
    function: Callable[..., Any], kind: Kind, writes: set[int]
) -> None:
    assert behaviour_from_source(function, False, (_A,), {}, lambda _node: kind).writes == writes


def test_where_a_long_range_ends_is_not_known() -> None:
    def asks_for_the_last(a: Tensor) -> Tensor:
        places = tuple(range(5000))
        return a.clone() if places[-1] < 4000 else a.add_(1)

    assert behaviour_from_source(asks_for_the_last, False, (_A,), {}).writes == {0}


def _asks_for_a_sum(a: Tensor) -> Tensor:
    return a.clone() if sum((1, 2), start=-3) > 0 else a.add_(1)


def _asks_for_the_truth(a: Tensor) -> Tensor:
    return a.clone() if bool(a.sum() > 0) else a.add_(1)


@pytest.mark.parametrize("function", [_asks_for_a_sum, _asks_for_the_truth])
def test_a_builtin_that_is_given_more_than_constants_may_come_out_either_way(function: Callable[..., Any]) -> None:
    assert behaviour_from_source(function, False, (_A,), {}).writes == {0}


def _asks_for_the_length(a: Tensor, sizes: tuple[int, ...]) -> Tensor:
    return a.add_(1) if len(sizes) > 2 else a.clone()


def _asks_for_the_largest(a: Tensor, sizes: tuple[int, ...]) -> Tensor:
    return a.add_(1) if max(sizes) > 2 else a.clone()


@pytest.mark.parametrize("function", [_asks_for_the_length, _asks_for_the_largest])
def test_a_builtin_of_constants_decides(function: Callable[..., Any]) -> None:
    for sizes, writes in (((1, 2), set[int]()), ((1, 2, 3), {0})):
        assert behaviour_from_source(function, False, (_A, sizes), {}).writes == writes


@pytest.mark.parametrize(("sizes", "writes"), [((1, 3), set[int]()), ((3, 1), {0})])
def test_an_item_that_is_counted_from_the_end_is_known(sizes: tuple[int, ...], writes: set[int]) -> None:
    def asks_for_the_first(a: Tensor, sizes: tuple[int, ...]) -> Tensor:
        return a.add_(1) if sizes[-2] > 2 else a.clone()

    assert behaviour_from_source(asks_for_the_first, False, (_A, sizes), {}).writes == writes


def test_what_is_for_scripting_alone_does_not_run() -> None:
    def writes_when_scripted(a: Tensor) -> Tensor:
        is_scripting = torch.jit.is_scripting()  # pyright: ignore[reportPrivateImportUsage]
        return a.add_(1) if is_scripting else a.clone()

    assert not behaviour_from_source(writes_when_scripted, False, (_A,), {}).writes
