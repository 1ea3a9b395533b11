"""A small traced function, and mutations of it: what passes do to graphs, each in one way."""

from __future__ import annotations

import torch
from torch import fx


def model(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x + 1).sum(dim=0) * 2


def traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(model)
    for index, each in enumerate(graph_module.graph.nodes):
        each.meta["place"] = index
    return graph_module


def node(graph_module: fx.GraphModule, name: str) -> fx.Node:
    return next(each for each in graph_module.graph.nodes if each.name == name)


def replaces(graph_module: fx.GraphModule) -> None:
    relu = node(graph_module, "relu")
    with graph_module.graph.inserting_after(relu):
        new = graph_module.graph.call_function(torch.sigmoid, relu.args)
    relu.replace_all_uses_with(new)
    graph_module.graph.erase_node(relu)


def retargets(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").target = torch.sigmoid


def sets_args(graph_module: fx.GraphModule) -> None:
    node(graph_module, "mul").args = (node(graph_module, "sum_1"), 3)


def moves(graph_module: fx.GraphModule) -> None:
    with graph_module.graph.inserting_before(node(graph_module, "add")):
        first = graph_module.graph.call_function(torch.ones, (2,))
    node(graph_module, "mul").append(first)


def moves_back(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").prepend(node(graph_module, "ones"))


def edits_meta(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").meta["place"] = "elsewhere"


def copies_functionally(graph_module: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(graph_module.graph, {}))
    node_of = {each.name: each for each in graph.nodes}
    node_of["relu"].target = torch.sigmoid
    return fx.GraphModule(graph_module, graph)


def sets_graph(graph_module: fx.GraphModule) -> None:
    graph_module.graph = copies_functionally(graph_module).graph


def replaces_input(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").replace_input_with(node(graph_module, "add"), node(graph_module, "x"))
