"""How assignments and deletions are read: what an object holds, and that it was written."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_ARGUMENTS = tuple(_GRAPH.placeholder(name) for name in "ab")


def _item(a: Any, b: Any) -> None:
    a[0] = b


def _part(a: Any, b: Any) -> None:
    a[:, 0] = b


def _entry(a: Any, b: Any) -> None:
    a["entry"] = b


def _attribute(a: Any, b: Any) -> None:
    a.attribute = b


def _whole(a: Any, b: Any) -> None:
    a[...] = b


def _item_increased(a: Any, b: Any) -> None:
    a[0] += b


def _part_increased(a: Any, b: Any) -> None:
    a[:, 0] += b


def _attribute_increased(a: Any, b: Any) -> None:
    a.attribute = b
    a.attribute += 1


@pytest.mark.parametrize(
    ("function", "kind", "writes", "links"),
    [
        (_item, "tensor", {0}, False),
        (_item, "any", {0, 1}, True),
        (_part, "any", {0}, False),
        (_whole, "any", {0}, False),
        (_entry, "any", {0}, True),
        (_attribute, "any", {0}, True),
        (_item_increased, "any", {0, 1}, True),
        (_part_increased, "any", {0}, False),
        (_attribute_increased, "any", {0, 1}, True),
    ],
)
def test_what_is_put_into_another_is_found_there_unless_it_is_copied(
    function: Callable[..., Any], kind: Kind, writes: set[int], links: bool
) -> None:
    behaviour = behaviour_from_source(function, False, _ARGUMENTS, {}, lambda _node: kind)
    assert behaviour == Behaviour(writes=frozenset(writes), kind="none", links=links)


def _entry_deleted(a: Any) -> None:
    del a["entry"]


def _attribute_deleted(a: Any) -> None:
    del a.attribute


def _item_of_its_own_list_deleted(a: Any) -> None:
    held = [a]
    del held[0]


def _item_of_a_sum_deleted(a: Any) -> None:
    held = [3]
    held = held + a
    del held[0]


def _entry_of_a_dict_made_of_two_replaced(a: Any) -> None:
    both = {"entry": 3} | a
    both["entry"] = 4


def _name_deleted(a: Any) -> None:
    held = a.view(-1)
    del held


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_entry_deleted, {0}),
        (_attribute_deleted, {0}),
        (_item_of_its_own_list_deleted, set()),
        (_item_of_a_sum_deleted, set()),
        (_entry_of_a_dict_made_of_two_replaced, set()),
        (_name_deleted, set()),
    ],
)
def test_what_loses_or_changes_an_item_or_an_attribute_is_written(
    function: Callable[..., Any], writes: set[int]
) -> None:
    assert behaviour_from_source(function, False, _ARGUMENTS[:1], {}) == Behaviour(
        writes=frozenset(writes), kind="none"
    )


class _DeletesItsCache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = 3

    def forward(self, a: Tensor) -> None:
        del self.cache


def test_a_module_that_loses_an_attribute_is_written() -> None:
    assert behaviour_from_source(_DeletesItsCache(), False, _ARGUMENTS[:1], {}).writes == {STATE}


class _WritesAfterTheFirstCall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, a: Tensor) -> Tensor:
        result = a.add_(1) if self.calls > 0 else a.clone()
        self.calls += 1
        return result


def test_a_counter_of_calls_is_not_taken_for_what_it_is_now() -> None:
    behaviour = behaviour_from_source(_WritesAfterTheFirstCall(), False, _ARGUMENTS[:1], {}, lambda _node: "tensor")
    assert 0 in behaviour.writes


class _CallsTheLast(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, a: Tensor) -> Tensor:
        *_, last = self.layers
        return last(a)


def test_what_is_unpacked_around_a_star_may_be_any_of_the_items() -> None:
    layers = [nn.ReLU(), nn.ReLU(), nn.ReLU(inplace=True)]
    behaviour = behaviour_from_source(_CallsTheLast(*layers), False, _ARGUMENTS[:1], {}, lambda _node: "tensor")
    assert 0 in behaviour.writes


def test_a_number_that_is_increased_by_a_tensor_is_a_new_tensor() -> None:
    def totals(a: Tensor) -> Any:
        total = 0
        total += a
        return total

    def counts(a: Tensor) -> Any:
        total = 0
        total += a.dim()
        return total

    assert behaviour_from_source(totals, False, _ARGUMENTS[:1], {}, lambda _node: "tensor") == Behaviour(kind="tensor")
    assert behaviour_from_source(counts, False, _ARGUMENTS[:1], {}, lambda _node: "tensor") == Behaviour(kind="none")


def _unpacks_the_rest(a: Any) -> Any:
    _, *rest = a
    return rest


def _enters(a: Any) -> Any:
    with a as entered:
        return entered


@pytest.mark.parametrize("function", [_unpacks_the_rest, _enters])
def test_what_is_left_over_or_entered_may_be_anything_that_shares_memory(function: Callable[..., Any]) -> None:
    behaviour = behaviour_from_source(function, False, _ARGUMENTS[:1], {}, lambda _node: "tensor")
    assert behaviour == Behaviour(returns=frozenset([0]), kind="any")


def _imports_a_package(a: Tensor) -> None:
    import torch.nn.functional

    torch.nn.functional.relu_(a)


def _imports_from_a_module(a: Tensor) -> None:
    from torch.nn.functional import relu_

    relu_(a)


def _imports_from_beside(a: Tensor) -> None:
    from .functional import relu_  # pyright: ignore[reportMissingImports]

    relu_(a)


def _imports_a_module_beside(a: Tensor) -> None:
    from . import functional  # pyright: ignore[reportAttributeAccessIssue]

    functional.relu_(a)


@pytest.mark.parametrize(
    "function", [_imports_a_package, _imports_from_a_module, _imports_from_beside, _imports_a_module_beside]
)
def test_what_a_function_imports_is_known(function: FunctionType) -> None:
    inside_torch = FunctionType(function.__code__, {"__package__": "torch.nn"})
    behaviour = behaviour_from_source(inside_torch, False, _ARGUMENTS[:1], {}, lambda _node: "tensor")
    assert behaviour == Behaviour(writes=frozenset([0]), kind="none")


def test_what_is_imported_and_not_loaded_yet_may_be_shared_with_other_calls() -> None:
    def increases(a: Tensor) -> Any:
        from not_loaded_yet import table  # pyright: ignore[reportMissingImports]

        table.add_(a)
        return table

    behaviour = behaviour_from_source(increases, False, _ARGUMENTS[:1], {}, lambda _node: "tensor")
    assert STATE in behaviour.writes & behaviour.returns
