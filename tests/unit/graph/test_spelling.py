"""What nodes call, as short as tells two of them apart."""

from __future__ import annotations

import torch
from torch import fx

from fxpasses.graph.spelling import lines_of, spell, spell_call, spell_calls
from fxpasses.graph.state import GraphColumns


def test_of_two_calls_of_the_same_only_what_they_pass_differently_is_spelled() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    half, all_ = (graph.call_function(torch.dropout, (x, p, True)) for p in (0.5, 1.0))
    assert spell_calls(half, all_) == ("dropout(…, 0.5)", "dropout(…, 1.0)")


def test_of_calls_of_different_functions_everything_is_spelled() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    nodes = [
        graph.call_function(function, (x, p, True))
        for function, p in ((torch.dropout, 0.5), (torch.feature_dropout, 1.0))
    ]
    assert spell_calls(*nodes) == ("dropout(%, 0.5, True)", "feature_dropout(%, 1.0, True)")


def test_of_equal_calls_everything_is_spelled() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    nodes = [graph.call_function(torch.dropout, (x, 0.5, True)) for _ in range(2)]
    assert spell_calls(*nodes) == ("dropout(%, 0.5, True)",) * 2


def test_a_long_argument_is_cut() -> None:
    graph = fx.Graph()
    just, longer = (graph.create_node("call_function", print, ("x" * length,), name="call") for length in (58, 59))
    assert spell(just) == f"call = call_function[print]('{'x' * 58}')"
    assert spell(longer) == f"call_1 = call_function[print]('{'x' * 56}...)"


def test_nodes_are_called_what_they_were_called_when_they_were_recorded() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch.cat, ([x, x], 1), {"out": x})
    columns = GraphColumns.of(graph)
    x.name = "renamed"
    assert lines_of(columns) == ["x = placeholder[x]()", "cat = call_function[cat]([x, x], 1, out=x)"]


def test_a_keyword_is_spelled_with_its_name() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    rows, columns = (graph.call_function(torch.sum, (x,), {"dim": dim, "keepdim": True}) for dim in (0, 1))
    assert spell_call(rows) == "sum(%, dim=0, keepdim=True)"
    assert spell_calls(rows, columns) == ("sum(…, dim=0)", "sum(…, dim=1)")


def test_what_calls_nothing_is_spelled_by_what_it_is() -> None:
    graph = fx.Graph()
    nodes = [graph.placeholder("x"), graph.create_node("get_attr", "head.weight")]
    nodes.append(graph.output(nodes[0]))
    assert [spell_call(node) for node in nodes] == ["placeholder x", "get_attr head.weight", "output output"]
