"""What the node of a collapsed call knows about the calls around it."""

from __future__ import annotations

from torch import nn

from fxpasses.capture import capture_symbolic
from fxpasses.graph.meta import Scope, scopes
from fxpasses.passes.collapse_leaves import CollapseLeaves


def test_a_collapsed_call_is_inside_of_the_calls_that_it_was_made_in() -> None:
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.ReLU()))
    graph_module = CollapseLeaves(["0.0"])(capture_symbolic(model)).graph_module
    (node,) = [node for node in graph_module.graph.nodes if node.target == "0.0"]
    assert scopes(node) == (Scope("0", "0"), Scope("0.0", "0.0"))
