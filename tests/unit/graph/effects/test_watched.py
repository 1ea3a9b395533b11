"""Constants that are watched: whatever is made of them is told, or noted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, fx
from torch.nn import functional

from fxpasses.graph.effects.behaviour import Behaviour
from fxpasses.graph.effects.source.summaries import Summaries
from fxpasses.graph.effects.source.summary import behaviour_from_source
from fxpasses.graph.effects.source.watched import Decisions, LookedAt, LookedUp

_GRAPH = fx.Graph()
_A = _GRAPH.placeholder("a", type_expr=Tensor)
_KINDS: Any = {_A: "tensor"}


def _collects(a: Tensor, n: int) -> Any:
    return OrderedDict(a=a, n=n)


def _keeps_the_sign(a: Tensor, n: int) -> Tensor:
    return a.add_(1) if +n > 2 else a.clone()


def _counts_for_long(a: Tensor, n: int) -> Tensor:
    for _ in range(600):
        n = n + 1
    return a.add_(1) if n > 601 else a.clone()


def _hands_on_with_a_plus(a: Tensor, n: int) -> Tensor:
    return functional.relu(a, +n)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [_collects, _keeps_the_sign, _counts_for_long, _hands_on_with_a_plus])
def test_a_constant_that_is_watched_is_read_as_one_that_is_not(function: Callable[..., Any]) -> None:
    summaries = Summaries()
    for n in (1, 2, 3):
        node = _GRAPH.call_function(function, (_A, n))
        alone: Behaviour = behaviour_from_source(function, None, node.args, {}, _KINDS.__getitem__)
        assert not alone.random
        assert summaries.behaviour(function, None, node, _KINDS) == alone


def test_what_is_looked_at_is_a_sequence() -> None:
    decisions = Decisions({"p": 1, "q": 2, "r": 3})
    seen = LookedAt([decisions.value(key) for key in "pqr"])
    assert list(seen) == [1, 2, 3]
    assert seen[1:] == [2, 3]
    assert decisions.hold_for({"p": 1, "q": 2, "r": 3})
    assert not decisions.hold_for({"p": 1, "q": 2, "r": 4})


def test_what_is_looked_up_is_a_mapping_and_its_names_decide_nothing() -> None:
    decisions = Decisions({"p": 1, "q": 2})
    seen = LookedUp({key: decisions.value(key) for key in "pq"})
    assert list(seen) == ["p", "q"]
    assert len(seen) == 2
    assert decisions.hold_for({"p": 3, "q": 4})
    assert dict(seen) == {"p": 1, "q": 2}
    assert not decisions.hold_for({"p": 3, "q": 4})


def test_only_the_part_that_is_looked_at_decides() -> None:
    decisions = Decisions({"p": 1, "q": 2})
    seen = LookedAt([decisions.value(key) for key in "pq"])
    assert seen[1:] == [2]
    assert decisions.hold_for({"p": 3, "q": 2})
