"""How expressions are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, fx

from fxpasses.graph.effects.behaviour import Behaviour
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _read(function: Callable[..., Any], *args: object) -> Behaviour:
    return behaviour_from_source(function, False, args, {})


def test_what_may_be_lists_are_found_in_their_sum_and_not_in_their_difference() -> None:
    def adds(a: Any, b: Any) -> Any:
        return a + b

    def subtracts(a: Any, b: Any) -> Any:
        return a - b

    assert _read(adds, _A, _B) == Behaviour(returns=frozenset([0, 1]), kind="any")
    assert _read(subtracts, _A, _B) == Behaviour(kind="numeric")


@pytest.mark.parametrize("flag", [True, False])
def test_a_negated_flag_decides(flag: bool) -> None:
    def writes_unless(a: Tensor, flag: bool) -> Tensor:
        return a.add_(1) if not flag else a.clone()

    assert bool(_read(writes_unless, _A, flag).writes) == (not flag)


@pytest.mark.parametrize("number", [1, -1])
def test_a_number_with_another_sign_decides(number: int) -> None:
    def writes_below_zero(a: Tensor, number: int) -> Tensor:
        return a.add_(1) if -number > 0 else a.clone()

    assert bool(_read(writes_below_zero, _A, number).writes) == (number < 0)
