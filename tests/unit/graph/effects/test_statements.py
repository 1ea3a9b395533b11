"""How statements are read: where several ways meet, any of them may have been taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, fx

from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_ARGUMENTS = tuple(_GRAPH.placeholder(name) for name in "abc")


def _written_by_what_was_assigned_in_a_branch(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    if c.sum() > 0:
        current = a
    current.add_(1)


def _written_in_the_other_branch(a: Tensor, b: Tensor, c: Tensor) -> None:
    if c.sum() > 0:
        a.add_(1)
    else:
        b.add_(1)


def _written_after_a_break(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    for _ in range(3):
        current = b.clone()
        if c.sum() > 0:
            current = a
            break
        current = b
    current.add_(1)


def _written_where_no_break_was_met(a: Tensor, b: Tensor, c: Tensor) -> None:
    for _ in range(c.shape[0]):
        if c.sum() > 0:
            break
    else:
        a.add_(1)


def _written_after_the_break_of_an_outer_loop(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    while c.sum() > 0:
        for _ in range(3):
            c.abs()
        if c.sum() > 1:
            current = a
            break
    current.add_(1)


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_written_by_what_was_assigned_in_a_branch, {0, 1}),
        (_written_in_the_other_branch, {0, 1}),
        (_written_after_a_break, {0, 1}),
        (_written_where_no_break_was_met, {0}),
        (_written_after_the_break_of_an_outer_loop, {0, 1}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_may_be_written(function: Callable[..., Any], writes: set[int]) -> None:
    behaviour = behaviour_from_source(function, False, _ARGUMENTS, {}, lambda _node: "tensor")
    assert behaviour.writes == writes
