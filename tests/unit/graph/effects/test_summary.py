"""What a reader gets to see of the arguments of a call."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import pytest
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


class _Size(NamedTuple):
    height: int
    width: int


def _returns_the_second(a: Tensor, b: Any) -> Any:
    return b


def _writes_for_a_size(a: Tensor, b: Any) -> Tensor:
    return a.add_(1) if isinstance(b, _Size) else a.clone()


class _NamesItsChildren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.children_by_name = nn.ModuleDict({"only": nn.ReLU()})

    def forward(self, a: Tensor) -> Tensor:
        for name in self.children_by_name.keys():  # noqa: SIM118 - what is tested
            sys.intern(name)  # a function that no rule knows
        return a.clone()


@pytest.mark.parametrize(("kind", "returns"), [("none", set()), ("tensor", {1}), ("any", {1})])
def test_a_number_shares_memory_with_nothing(kind: Kind, returns: set[int]) -> None:
    behaviour = behaviour_from_source(_returns_the_second, False, (_A, _B), {}, lambda _node: kind)
    assert behaviour == Behaviour(returns=frozenset(returns), kind=kind)


def test_a_list_of_numbers_is_not_copied_on_the_way() -> None:
    assert behaviour_from_source(_returns_the_second, False, (_A, [1, 2]), {}) == Behaviour(returns=frozenset([1]))


@pytest.mark.parametrize(("size", "writes"), [(_Size(2, 3), {0}), ((2, 3), set())])
def test_a_named_tuple_is_one(size: tuple[int, int], writes: set[int]) -> None:
    assert behaviour_from_source(_writes_for_a_size, False, (_A, size), {}).writes == writes


def test_whoever_is_given_the_name_of_a_child_is_not_given_the_child() -> None:
    behaviour = behaviour_from_source(_NamesItsChildren(), False, (_A,), {}, lambda _node: "tensor")
    assert not behaviour.writes
