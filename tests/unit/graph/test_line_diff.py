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


def _lines_with_changed(place: int, count: int) -> list[str]:
    graph = fx.Graph()
    nodes = [graph.placeholder(f"x{index}") for index in range(count)]
    before = GraphColumns.of(graph)
    nodes[place].target = "other"
    return changed_lines(before, GraphColumns.of(graph))


def test_a_single_line_that_is_left_out_is_marked_as_well() -> None:
    changed = ["- x3 = placeholder[x3]()", "+ x3 = placeholder[other]()"]
    near = [f"  x{index} = placeholder[x{index}]()" for index in (1, 2, 4, 5)]
    assert _lines_with_changed(3, 7) == ["@@", *near[:2], *changed, *near[2:], "@@"]
    assert _lines_with_changed(3, 6) == ["@@", *near[:2], *changed, *near[2:]]


def test_what_is_gone_at_the_end_is_told() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    first, second = (graph.call_function(abs, (x,)) for _ in range(2))
    before = GraphColumns.of(graph)
    graph.erase_node(second)
    graph.erase_node(first)
    assert changed_lines(before, GraphColumns.of(graph)) == [
        "  x = placeholder[x]()", "- abs_1 = call_function[abs](x)", "- abs_2 = call_function[abs](x)",
    ]  # fmt: skip
