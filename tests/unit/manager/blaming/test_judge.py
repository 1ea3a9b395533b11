from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.manager import PassLike, PassManager, PassResult
from fxpasses.manager.blaming.judge import Judgement
from fxpasses.manager.contract import OutputsClaim

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


def denies_its_change(graph_module: fx.GraphModule) -> PassResult:
    harmless(graph_module)
    return PassResult(graph_module, False)


def raises(graph_module: fx.GraphModule) -> None:
    harmless(graph_module)
    raise KeyError("sum")


@pytest.mark.parametrize(
    ("pass_", "kind", "text"),
    [
        (
            denies_its_change,
            "raises FalseClaimError",
            "denies_its_change (pass 1) returned modified=False, but it changed",
        ),
        (raises, "raises KeyError", "raises (pass 1) raised KeyError: 'sum'"),
    ],
)
def test_a_pass_that_fails_is_told_in_a_line_with_the_graph_that_it_left(pass_: PassLike, kind: str, text: str) -> None:
    wrong = Judgement([X]).judge(PassManager([pass_]), traced())
    assert wrong is not None
    assert wrong.kind == kind
    assert wrong.text.startswith(text)
    assert "\n" not in wrong.text
    assert "call_method[target=relu]" in str(wrong.graph)


def claiming(claim: OutputsClaim | None, outputs: Callable[[list[fx.Node]], object] | None) -> PassLike:
    """Makes a pass that returns other outputs, made of the nodes that there are, or one that changes nothing."""

    def returns(graph_module: fx.GraphModule) -> None:
        if outputs is not None:
            graph_module.graph.output_node().args = (outputs(list(graph_module.graph.nodes)),)

    if claim is not None:
        returns.outputs_claim = claim
    return returns


def as_it_was(nodes: list[fx.Node]) -> object:
    return [node for node in nodes if node.name == "add"]


def as_a_dict(nodes: list[fx.Node]) -> object:
    return {"written": next(node for node in nodes if node.name == "add")}


def the_input(nodes: list[fx.Node]) -> object:
    return {"x": nodes[0]}


def reads_before_the_write(graph_module: fx.GraphModule) -> None:
    (write,) = graph_module.graph.find_nodes(op="call_function", target=torch.relu_)
    write.args = (next(iter(graph_module.graph.nodes)),)


reads_before_the_write.outputs_claim = "at_birth"


def reads_before_the_write_and_claims_nothing(graph_module: fx.GraphModule) -> None:
    reads_before_the_write(graph_module)


@pytest.mark.parametrize(
    ("passes", "is_right"),
    [
        ([claiming("equal", None), claiming("equal", as_it_was)], True),
        ([claiming("equal", as_a_dict)], False),
        ([claiming(None, as_a_dict)], False),
        ([claiming("renamed", as_a_dict)], True),
        ([claiming("subset", the_input)], True),
        ([claiming("renamed", the_input)], False),
        ([reads_before_the_write], True),
        ([reads_before_the_write_and_claims_nothing], False),
        ([reads_before_the_write, claiming("renamed", as_a_dict)], True),
        ([reads_before_the_write, claiming("equal", as_a_dict)], False),
        ([claiming("subset", None), claiming("equal", the_input)], False),
        ([claiming("renamed", None), claiming("equal", as_a_dict)], False),
    ],
)
def test_outputs_may_change_as_the_passes_that_changed_something_claim(passes: list[PassLike], is_right: bool) -> None:
    def writes(x: torch.Tensor) -> list[torch.Tensor]:
        y = x + 1
        torch.relu_(y)
        return [y]

    wrong = Judgement([torch.tensor([-3.0, 2.0])]).judge(PassManager(passes), fx.symbolic_trace(writes))
    assert (None if wrong is None else wrong.kind) == (None if is_right else "other values")
