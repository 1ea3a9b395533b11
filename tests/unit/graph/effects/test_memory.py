"""What an item is taken to be, by what it is an item of."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_A = fx.Graph().placeholder("a")
_FIRST = frozenset([0])


def _item(a: Any) -> Any:
    return a[0]


def _part(a: Tensor) -> Tensor:
    return a.chunk(2)[0]


def _written_in_a_list(a: Tensor) -> None:
    held = [a]
    item = held[a.dim() - 2]
    item += 1


class _ListsItsChildren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.ModuleDict({"only": nn.ReLU()})

    def forward(self, a: Tensor) -> Any:
        (pair,) = self.table.items()
        return pair


@pytest.mark.parametrize(("kind", "kind_of_item"), [("any", "any"), ("tensor", "tensor"), ("tensors", "tensor")])
def test_an_item_shares_memory_with_what_it_is_an_item_of(kind: Kind, kind_of_item: Kind) -> None:
    behaviour = behaviour_from_source(_item, False, (_A,), {}, lambda _node: kind)
    assert behaviour == Behaviour(returns=_FIRST, kind=kind_of_item)


def test_a_part_of_a_tensor_is_a_tensor() -> None:
    assert behaviour_from_source(_part, False, (_A,), {}) == Behaviour(returns=_FIRST, kind="tensor")


def test_a_write_into_an_item_of_a_list_is_one_into_what_the_list_holds() -> None:
    assert behaviour_from_source(_written_in_a_list, False, (_A,), {}, lambda _node: "tensor").writes == {0}


@pytest.mark.parametrize("sizes", [(2, 3), ((2, 3), (4, 5))])
def test_an_item_of_a_tuple_of_numbers_is_no_tensor(sizes: tuple[object, ...]) -> None:
    assert behaviour_from_source(_item, False, (sizes,), {}) == Behaviour(kind="none")


def test_a_child_and_its_name_are_the_modules_own() -> None:
    behaviour = behaviour_from_source(_ListsItsChildren(), False, (_A,), {}, lambda _node: "tensor")
    assert behaviour == Behaviour(returns=frozenset([STATE]), kind="any")
