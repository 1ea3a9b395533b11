"""What is wrong with the tables that a graph keeps."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.spelling import spell
from fxpasses.graph.verify import describe, problems
from fxpasses.graph.verify.problem import Problem


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


def is_named_like_a_keyword(nodes: dict[str, fx.Node]) -> None:
    nodes["relu"].name = "class"


def is_named_like_another(nodes: dict[str, fx.Node]) -> None:
    nodes["relu"].name = "sum_1"


def is_used_by_a_node_of_another_graph(nodes: dict[str, fx.Node]) -> None:
    fx.Graph().call_function(torch.neg, (nodes["relu"],))


def comes_too_late(nodes: dict[str, fx.Node]) -> None:
    nodes["add"].append(nodes["abs_1"])


def holds_itself_in_its_meta(nodes: dict[str, fx.Node]) -> None:
    nodes["relu"].meta["custom"] = circle = [fx.Graph().placeholder("stranger")]
    circle.append(circle)


@pytest.mark.parametrize(
    ("malform", "texts"),
    [
        (is_named_like_a_keyword, ["A node is named 'class', which Python cannot use as a variable."]),
        (is_named_like_another, ["The name 'sum_1' belongs to 2 nodes."] * 2),
        (is_used_by_a_node_of_another_graph, ["'relu' lists 'neg' in its `users`, which does not use it."]),
        (comes_too_late, ["'add' uses 'abs_1', which only comes after it."]),
        (holds_itself_in_its_meta, ["meta['custom'] of 'relu' refers to 'stranger', which is not in this graph."]),
    ],
)
def test_what_is_wrong_is_told_of_the_nodes_that_have_it_alone(
    malform: Callable[[dict[str, fx.Node]], None], texts: list[str]
) -> None:
    graph_module, nodes = _graph_module()
    malform(nodes)
    assert [problem.text for problem in problems(graph_module)] == texts


def test_a_user_too_many_is_found_in_the_smallest_graph() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(x)
    x.users[fx.Graph().placeholder("stranger")] = None
    assert [problem.kind for problem in problems(fx.GraphModule(nn.Module(), graph))] == ["users"]


@pytest.mark.parametrize("as_key", [False, True])
def test_a_node_inside_a_read_only_mapping_is_hidden(as_key: bool) -> None:
    graph_module, nodes = _graph_module()
    content = {nodes["x"]: 1} if as_key else {"key": nodes["x"]}
    nodes["relu"].kwargs = {"options": MappingProxyType(content)}
    assert "hidden" in {problem.kind for problem in problems(graph_module)}


def test_a_culprit_that_is_in_no_graph_is_shown_alone() -> None:
    graph_module, nodes = _graph_module()
    gives_a_node_to_another_graph(nodes)
    assert (
        describe(problems(graph_module)).splitlines()[-1]
        == "--> abs_1 = call_method[abs](relu_1)    (not in the graph)"
    )


@pytest.mark.parametrize(
    ("culprit", "shown"),
    [(0, "0123…"), (2, "012345…"), (3, "0123456…"), (4, "…1234567…"), (5, "…2345678…"), (6, "…3456789"), (9, "…6789")],
)
def test_three_nodes_before_and_after_a_culprit_are_shown(culprit: int, shown: str) -> None:
    graph = fx.Graph()
    nodes = [graph.placeholder("x")]
    for _ in range(8):
        nodes.append(graph.call_function(torch.neg, (nodes[-1],)))
    nodes.append(graph.output(nodes[-1]))
    lines = describe([Problem("argument", nodes[culprit], "It is wrong.")]).splitlines()[2:]
    places = {spell(node): str(index) for index, node in enumerate(nodes)}
    assert "".join("…" if line == "    ..." else places[line[4:]] for line in lines) == shown
    assert [places[line[4:]] for line in lines if line.startswith("--> ")] == [str(culprit)]


def has_two_outputs(nodes: dict[str, fx.Node]) -> None:
    nodes["x"].graph.output(nodes["relu"])


def has_no_output(nodes: dict[str, fx.Node]) -> None:
    nodes["x"].graph.erase_node(nodes["output"])


def goes_on_after_the_output(nodes: dict[str, fx.Node]) -> None:
    with nodes["x"].graph.inserting_after(nodes["output"]):
        nodes["x"].graph.call_function(torch.neg, (nodes["x"],))


@pytest.mark.parametrize(
    ("malform", "culprit", "text"),
    [
        (has_two_outputs, "output_1", "The graph has 2 output nodes; one is allowed."),
        (has_no_output, "add", "The graph has no output node."),
        (goes_on_after_the_output, "neg", "'neg' comes after the output; it is never computed."),
    ],
)
def test_what_is_wrong_with_the_output_is_told_once(
    malform: Callable[[dict[str, fx.Node]], None], culprit: str, text: str
) -> None:
    graph_module, nodes = _graph_module()
    malform(nodes)
    assert [(str(problem.node), problem.text) for problem in problems(graph_module)] == [(culprit, text)]


def test_an_empty_graph_has_no_output_and_no_node_to_show() -> None:
    found = problems(fx.GraphModule(nn.Module(), fx.Graph()))
    assert [(problem.node, problem.text) for problem in found] == [(None, "The graph has no output node.")]


def test_an_unknown_opcode_is_told_of_the_node_that_has_it_alone() -> None:
    graph_module, nodes = _graph_module()
    object.__setattr__(nodes["sum_1"], "op", "call_lambda")
    found = [problem for problem in problems(graph_module) if problem.kind == "op"]
    assert [(problem.node, problem.text) for problem in found] == [
        (nodes["sum_1"], "'sum_1' has the unknown opcode 'call_lambda'.")
    ]
