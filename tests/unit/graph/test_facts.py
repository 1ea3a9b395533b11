"""Facts about a graph module."""

from __future__ import annotations

from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.graph.facts import CALLS, NAMES, Fact


def test_a_capture_has_names_and_calls_and_a_bare_trace_has_neither() -> None:
    captured, bare = capture_symbolic(nn.Sequential(nn.ReLU())), fx.symbolic_trace(lambda x: x + 1)
    assert [fact.holds(captured) for fact in (CALLS, NAMES)] == [True, False]
    assert [fact.holds(bare) for fact in (CALLS, NAMES)] == [False, False]


def test_a_fact_is_its_name() -> None:
    assert [str(CALLS), str(NAMES)] == ["calls", "names"]
    assert Fact("names", lambda graph_module: True) == NAMES
    assert hash(Fact("names", lambda graph_module: True)) == hash(NAMES)
    assert repr(NAMES) == "Fact(name='names')"
