"""What comes of a call that is met while source is read: what it returns, and what it does to containers."""

from __future__ import annotations

import operator
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _read(callee: Any, *args: object, kind: Kind = "tensor") -> Behaviour:
    return behaviour_from_source(callee, False, args, {}, lambda _node: kind)


class _Writes(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a.add_(1)


class _Copies(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a.clone()


def test_a_function_that_is_made_where_there_is_no_memory_writes_none() -> None:
    def makes_a_function() -> Any:
        return lambda number: number * 2

    behaviour = _read(makes_a_function)
    assert not behaviour.writes
    assert not behaviour.returns


def test_what_may_end_without_a_result_may_give_none() -> None:
    def finds(a: Tensor) -> Any:  # noqa: RET503 - what is tested
        if a.sum() > 0:
            return a.clone()

    def ends(a: Tensor) -> None:
        a.clone()

    def writes_unless_none(a: Tensor) -> Tensor:
        return a.clone() if ends(a) is None else a.add_(1)

    assert _read(finds, _A).kind == "any"
    assert not _read(writes_unless_none, _A).writes


@pytest.mark.parametrize(
    ("kind", "returns"), [("tensor", set()), ("numeric", set()), ("tensors", {0, 1}), ("any", {0, 1})]
)
def test_a_sum_that_a_function_makes_shares_what_lists_hold(kind: Kind, returns: set[int]) -> None:
    def adds(a: Any, b: Any) -> Any:
        return operator.add(a, b)

    assert _read(adds, _A, _B, kind=kind).returns == returns


def test_an_item_that_a_function_takes_out_of_tensors_is_a_tensor() -> None:
    def takes(a: Any) -> Any:
        return operator.getitem(a, 0)

    assert _read(takes, _A, kind="tensors").kind == "tensor"


def test_what_is_told_only_of_new_tensors_draws_no_random_numbers() -> None:
    def measures(a: Tensor) -> Tensor:
        sys.getsizeof(a.clone())
        return a.clone()

    assert _read(measures, _A) == Behaviour(kind="tensor")


def _writes_what_was_put_into_a_deque(a: Any, b: Any) -> None:
    waiting: Any = deque()
    waiting.append(a)
    waiting.pop().add_(1)


def _writes_all_that_a_list_holds(a: Any, b: Any) -> None:
    held = [a, b]
    torch._foreach_add_(held, 1)


def _takes_one_off_a_sum(a: Any, b: Any) -> Any:
    added = [b]
    held = a + added
    held.pop()
    return held


def _makes_its_own_list_longer(a: Any, b: Any) -> Any:
    held = [a]
    operator.iadd(held, [b])
    return held


def _copies_a_list(a: Any, b: Any) -> Any:
    held = list(a)
    held.append(b)
    return held


def _copies_a_dict(a: Any, b: Any) -> Any:
    held = dict(a)
    held.update(b=b)
    return held


def _copies_into_an_ordered_dict(a: Any, b: Any) -> Any:
    held: Any = OrderedDict(a)
    held.update(b=b)
    return held


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_writes_what_was_put_into_a_deque, {0}),
        (_writes_all_that_a_list_holds, {0, 1}),
        (_takes_one_off_a_sum, set()),
        (_makes_its_own_list_longer, set()),
        (_copies_a_list, set()),
        (_copies_a_dict, set()),
        (_copies_into_an_ordered_dict, set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_container_of_its_own_may_be_changed_and_what_it_holds_is_written_only_by_a_write(
    function: Callable[..., Any], writes: set[int]
) -> None:
    assert _read(function, _A, _B, kind="any").writes == writes


def test_a_call_that_makes_no_container_gives_none() -> None:
    def computes(a: Tensor) -> Tensor:
        return torch.relu(a)

    def counts(a: Tensor) -> int:
        return int(a.sum())

    assert _read(computes, _A).kind == "tensor"
    assert _read(counts, _A).kind == "none"


def test_a_function_that_belongs_to_no_module_is_read() -> None:
    def writes(a: Tensor) -> Tensor:
        return a.add_(1)

    writes.__module__ = None  # pyright: ignore[reportFunctionMemberAccess] # as code that is made at run time may have it
    assert _read(writes, _A).writes == {0}


def test_a_module_whose_forward_was_replaced_may_do_anything() -> None:
    module = _Copies()
    module.forward = _Writes().forward
    assert _read(module, _A).writes == {0, STATE}


class TestHooks:
    def test_one_that_runs_before_may_write_what_the_module_gets(self) -> None:
        def writes(_module: nn.Module, args: Any) -> None:
            args[0].add_(1)

        module = nn.Linear(2, 2)
        module.register_forward_pre_hook(writes)
        assert _read(nn.Sequential(module), _A).writes == {0}

    @pytest.mark.parametrize(("place", "writes"), [("args", {0}), ("result", set())])
    def test_one_that_runs_after_may_write_that_and_the_result(self, place: str, writes: set[int]) -> None:
        def writes_one(_module: nn.Module, args: Any, result: Tensor) -> None:
            args[0].add_(1) if place == "args" else result.add_(1)

        module = nn.Linear(2, 2)
        module.register_forward_hook(writes_one)
        assert _read(nn.Sequential(module), _A).writes == writes
