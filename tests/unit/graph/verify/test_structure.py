"""What is wrong with the tables that a graph keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.verify import describe, problems


def _graph_module() -> tuple[fx.GraphModule, dict[str, fx.Node]]:
    graph_module = fx.symbolic_trace(lambda x, y: torch.relu(x).sum() + torch.relu(y).abs())
    return graph_module, {node.name: node for node in graph_module.graph.nodes}


def counts_one_too_many(nodes: dict[str, fx.Node]) -> None:
    nodes["x"].graph._len += 1


def gives_a_node_to_another_graph(nodes: dict[str, fx.Node]) -> None:
    object.__setattr__(nodes["abs_1"], "graph", fx.Graph())


def sets_the_function_past_the_table(nodes: dict[str, fx.Node]) -> None:
    object.__setattr__(nodes["relu"], "target", torch.sin)


def sets_the_opcode_past_the_table(nodes: dict[str, fx.Node]) -> None:
    nodes["sum_1"].graph.owning_module.add_module("inner", nn.Identity())
    object.__setattr__(nodes["sum_1"], "op", "call_module")
    object.__setattr__(nodes["sum_1"], "target", "inner")


@pytest.mark.parametrize(
    ("malform", "text"),
    [
        (counts_one_too_many, "The graph counts 9 nodes, and has 8."),
        (gives_a_node_to_another_graph, "'abs_1' belongs to another graph."),
        (sets_the_function_past_the_table, "'relu' is not found by graph.find_nodes: it was entered by hand."),
        (sets_the_opcode_past_the_table, "'sum_1' is not found by graph.find_nodes: it was entered by hand."),
    ],
)
def test_what_a_table_has_wrong_is_told_and_nothing_else(
    malform: Callable[[dict[str, fx.Node]], None], text: str
) -> None:
    graph_module, nodes = _graph_module()
    malform(nodes)
    assert [(problem.kind, problem.text) for problem in problems(graph_module)] == [("table", text)]


def test_where_no_node_is_to_blame_none_is_shown() -> None:
    graph_module, nodes = _graph_module()
    counts_one_too_many(nodes)
    assert describe(problems(graph_module)) == "The graph is malformed: The graph counts 9 nodes, and has 8."


def test_the_nodes_around_a_culprit_are_shown_once() -> None:
    graph_module, nodes = _graph_module()
    nodes["abs_1"].kwargs = {"first": 1, "second": 2}
    nodes["sum_1"].kwargs = {"third": 3}
    text = describe(problems(graph_module))
    assert [line.split()[1] for line in text.splitlines() if line.startswith("-->")] == ["sum_1", "abs_1"]
