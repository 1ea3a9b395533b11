"""What a graph looked like at one moment."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import fx, nn
from torch.fx.graph import CodeGen

from fxpasses.graph.state import GraphColumns, GraphState


def _graph_module() -> fx.GraphModule:
    graph = fx.Graph()
    x = graph.placeholder("x")
    total = graph.call_function(torch.sum, (x,), {"dim": 0, "keepdim": True})
    total.meta["cost"] = 3
    graph.output(graph.call_function(torch.add, (total,), {"other": x}))
    return fx.GraphModule(nn.Module(), graph)


def adds_a_node_at_the_end(graph: fx.Graph) -> None:
    graph.call_function(torch.rand, (1,))


def erases_the_last_node(graph: fx.Graph) -> None:
    graph.erase_node(graph.output_node())


def sets_codegen(graph: fx.Graph) -> None:
    graph.set_codegen(CodeGen())


def moves_a_node(graph: fx.Graph) -> None:
    _, total, add, _ = graph.nodes
    add.append(total)


def sets_an_argument(graph: fx.Graph) -> None:
    graph.output_node().args = (None,)


@pytest.mark.parametrize(
    "change", [adds_a_node_at_the_end, erases_the_last_node, sets_codegen, moves_a_node, sets_an_argument]
)
def test_a_change_of_the_graph_shows(change: Callable[[fx.Graph], None]) -> None:
    graph_module = _graph_module()
    state = GraphState.of(graph_module)
    assert state.still_holds()
    change(graph_module.graph)
    assert not state.still_holds()


def test_a_graph_is_built_again_as_it_was() -> None:
    graph = _graph_module().graph
    codegen = CodeGen()
    graph.set_codegen(codegen)
    columns, text = GraphColumns.of(graph), str(graph)
    _, total, add, _ = graph.nodes
    total.kwargs, add.args, add.name = {}, (1,), "renamed"
    again = columns.rebuild()
    assert str(again) == text
    assert list(again.nodes)[1].meta == {"cost": 3}
    assert again._codegen is codegen
    assert fx.GraphModule(nn.Module(), again)(torch.ones(2)).tolist() == [3.0, 3.0]


def test_a_node_that_is_used_but_not_in_the_graph_is_used_by_name_when_the_graph_is_built_again() -> None:
    graph = _graph_module().graph
    stranger = fx.Graph().placeholder("stranger")
    _, total, add, _ = graph.nodes
    total.args, add.kwargs = (stranger,), {"other": stranger}
    columns, text = GraphColumns.of(graph), str(graph)
    assert str(columns.rebuild()) == text
    assert list(stranger.users) == [total, add]


def edits_the_inner_graph(outer: nn.Module, inner: fx.GraphModule) -> None:
    inner.graph.output_node().args = (None,)


def replaces_the_inner_graph(outer: nn.Module, inner: fx.GraphModule) -> None:
    inner._graph = copy.deepcopy(inner.graph)


def renames_the_inner_graph_module(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer._modules["other"] = outer._modules.pop("inner")


def replaces_the_inner_graph_module(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer.add_module("inner", _graph_module())


def replaces_a_parameter(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer.weight = nn.Parameter(torch.ones(1))


def writes_into_a_parameter(outer: nn.Module, inner: fx.GraphModule) -> None:
    with torch.no_grad():
        outer.get_parameter("weight").add_(1)


def replaces_a_buffer(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer.mean = torch.ones(1)


def writes_into_a_buffer(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer.get_buffer("mean").add_(1)


def replaces_a_module(outer: nn.Module, inner: fx.GraphModule) -> None:
    outer.add_module("activation", nn.Tanh())


@pytest.mark.parametrize("is_inference", [False, True], ids=["", "beside an inference tensor"])
@pytest.mark.parametrize(
    "change",
    [
        edits_the_inner_graph, replaces_the_inner_graph, renames_the_inner_graph_module,
        replaces_the_inner_graph_module, replaces_a_parameter, writes_into_a_parameter, replaces_a_buffer,
        writes_into_a_buffer, replaces_a_module,
    ],
)  # fmt: skip
def test_a_change_of_what_a_graph_module_holds_shows(
    change: Callable[[nn.Module, fx.GraphModule], None], is_inference: bool
) -> None:
    outer, inner = _graph_module(), _graph_module()
    outer.add_module("inner", inner)
    outer.register_parameter("weight", nn.Parameter(torch.ones(1)))
    outer.register_buffer("mean", torch.ones(1))
    outer.add_module("activation", nn.ReLU())
    if is_inference:
        with torch.inference_mode():
            outer.register_buffer("fixed", torch.ones(1))
    state = GraphState.of(outer)
    assert state.still_holds()
    change(outer, inner)
    assert not state.still_holds()
