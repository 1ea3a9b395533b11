"""How what a call passes finds its way to the parameters of a function that is read."""

from __future__ import annotations

from torch import Tensor, fx

from fxpasses.graph.effects.behaviour import STATE, Behaviour
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _copies(a: Tensor) -> Tensor:
    return a.clone()


def _writes_the_rest(a: Tensor, *rest: Tensor, **named: Tensor) -> Tensor:
    for each in (*rest, *named.values()):
        each.add_(1)
    return a.clone()


def _copies_the_first(a: Tensor, *rest: Tensor, **named: Tensor) -> Tensor:
    return a.clone()


def test_a_call_with_too_many_arguments_may_do_anything() -> None:
    behaviour = behaviour_from_source(_copies, False, (_A, _B), {})
    assert behaviour.writes == behaviour.returns == {0, 1, STATE}


def test_what_is_handed_on_whole_arrives_whole() -> None:
    def hands_on_to_a_copy(a: Tensor, *rest: Tensor, **named: Tensor) -> Tensor:
        return _copies_the_first(a, *rest, **named)

    def hands_on_to_a_write(a: Tensor, *rest: Tensor, **named: Tensor) -> Tensor:
        return _writes_the_rest(a.clone(), *rest, **named)

    assert behaviour_from_source(hands_on_to_a_copy, False, (_A, _B), {"c": _A}) == Behaviour(kind="tensor")
    assert behaviour_from_source(hands_on_to_a_write, False, (_A, _B), {"c": _A}).writes == {1, "c"}
