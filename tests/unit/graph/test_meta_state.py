"""What happened to the meta of nodes."""

from __future__ import annotations

import copy

from torch import fx

from fxpasses.graph.meta_state import MetaChange, MetaState, compare_meta
from fxpasses.graph.state import GraphState


def _traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2)
    for index, node in enumerate(graph_module.graph.nodes):
        node.meta["cost"] = index
    return graph_module


def _of(graph_module: fx.GraphModule) -> MetaState:
    return MetaState.of(GraphState.of(graph_module))


def test_in_one_graph_a_node_is_itself_under_any_name() -> None:
    graph_module = _traced()
    before = _of(graph_module)
    add = list(graph_module.graph.nodes)[1]
    add.name = "other"
    add.meta["cost"] = 7
    assert compare_meta(before, _of(graph_module)) == {add: MetaChange((), (), ("cost",))}


def test_between_two_graphs_nodes_of_one_name_are_the_same() -> None:
    first, second = _traced(), copy.deepcopy(_traced())
    mul = list(second.graph.nodes)[2]
    mul.meta = {"price": 1}
    assert compare_meta(_of(first), _of(second)) == {mul: MetaChange(("cost",), ("price",), ())}
