from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.manager import PassManager
from fxpasses.manager.blaming.judge import Judgement

X = torch.randn(2, 3)


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(lambda x: torch.relu(x + 1).sum(dim=0))


def harmless(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        node.op, node.target = "call_method", "relu"


def reshapes_in_vain(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        node.op, node.target, node.args = "call_method", "reshape", (*node.args, 7)


def clears_users(graph_module: fx.GraphModule) -> None:
    next(iter(graph_module.graph.nodes)).users.clear()


def with_stale_meta() -> fx.GraphModule:
    graph_module = traced()
    ShapeProp(graph_module).propagate(X)
    for node in graph_module.graph.find_nodes(op="call_method", target="sum"):
        node.kwargs = {"dim": 0, "keepdim": True}
    return graph_module


def test_a_graph_that_does_not_run_any_more_is_wrong_and_the_expected_value_is_told() -> None:
    graph_module = traced()
    wrong = Judgement([X]).judge(PassManager([reshapes_in_vain]), graph_module)
    assert wrong is not None
    assert wrong.kind == "does not run"
    assert wrong.text.startswith("The graph cannot be run any more: shape '[7]' is invalid for input of size 6")
    assert torch.equal(wrong.expected, graph_module(X))
    assert wrong.got is None
    assert "reshape" in str(wrong.graph)


def test_what_was_malformed_before_the_passes_is_not_theirs_and_what_was_not_is() -> None:
    judgement = Judgement([X])
    assert judgement.judge(PassManager([harmless]), with_stale_meta()) is None
    wrong = judgement.judge(PassManager([clears_users]), with_stale_meta())
    assert wrong is not None
    assert wrong.kind == "malformed users"


@pytest.mark.parametrize(("options", "seed"), [({}, 0), ({"seed": 5}, 5)])
def test_graphs_run_with_the_seed_that_is_told(options: dict[str, Any], seed: int) -> None:
    graph_module = fx.symbolic_trace(nn.Dropout())
    torch.manual_seed(seed)
    expected = graph_module(X)
    assert torch.equal(Judgement([X], **options).observe(graph_module).output, expected)
