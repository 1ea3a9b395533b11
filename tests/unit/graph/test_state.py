"""What a graph looked like at one moment."""

from __future__ import annotations

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
