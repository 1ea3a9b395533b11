"""Comparisons decide only where what they compare is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import fx

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
