"""A line for each node that is different."""

from __future__ import annotations

from torch import fx

from fxpasses.graph.line_diff import changed_lines
from fxpasses.graph.state import GraphColumns


def test_changes_far_apart_are_told_in_the_order_of_the_graph() -> None:
    graph = fx.Graph()
    value = graph.placeholder("x")
    added = [value := graph.create_node("call_function", abs, (value,), name=f"abs{index}") for index in range(1500)]
    graph.output(value)
    before = GraphColumns.of(graph)
    changed = [added[index] for index in (0, 7, 90, 511, 1024, 1400)]
    for node in changed:
        node.args = (0,)
    lines = changed_lines(before, GraphColumns.of(graph))
    assert [line for line in lines if line[0] == "+"] == [f"+ {node.name} = call_function[abs](0)" for node in changed]
    assert lines.count("@@") == 6
