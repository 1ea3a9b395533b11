"""From `torch.fx` to networkx, where no naming pass has made the names unique."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx
from torch.nn import functional

from fxpasses.graph.digraph import node_keys, target_text, to_networkx
from fxpasses.graph.meta import set_name


def _named(graph: fx.Graph, *names: str) -> fx.Graph:
    for node, name in zip(graph.nodes, names, strict=False):
        set_name(node, name, "exact")
    return graph


def _chain() -> fx.Graph:
    return fx.symbolic_trace(lambda x: x.abs().cos().sin()).graph


def test_nodes_of_one_name_stay_nodes_of_their_own() -> None:
    graph = _named(_chain(), "x", "a", "a", "a")
    assert list(node_keys(graph).values()) == ["x", "a", "a#2", "a#3", "output"]
    assert sorted(to_networkx(graph).edges()) == [("a", "a#2"), ("a#2", "a#3"), ("a#3", "output"), ("x", "a")]


def test_a_made_up_name_is_not_one_that_is_there() -> None:
    assert list(node_keys(_named(_chain(), "x", "a#2", "a", "a")).values()) == ["x", "a#2", "a", "a#3", "output"]


def test_an_unnamed_node_may_be_called_like_a_named_one() -> None:
    graph = _named(_chain(), "sin")
    assert list(node_keys(graph).values()) == ["sin", "abs_1", "cos", "sin#2", "output"]


def test_a_value_may_be_called_output() -> None:
    graph = _named(_chain(), "output")
    assert list(node_keys(graph).values())[-1] == ".output"
    assert len(to_networkx(graph)) == 5


def test_every_use_is_an_edge() -> None:
    graph = fx.symbolic_trace(lambda x, y: torch.add(x, y) * x).graph
    edges = set(to_networkx(graph).edges(data="argument"))
    assert edges == {("x", "add", 0), ("y", "add", 1), ("add", "mul", 0), ("x", "mul", 1), ("mul", "output", 0)}


def test_a_part_of_a_graph_has_the_edges_that_lead_to_it() -> None:
    part = to_networkx(_chain(), ["cos"])
    assert list(part.edges()) == [("abs_1", "cos")]
    assert (part.nodes["cos"]["op"], part.nodes["cos"]["target"]) == ("call_method", "cos")
    assert part.nodes["abs_1"] == {}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (operator.add, "_operator.add"),
        (functional.relu, "torch.nn.functional.relu"),
        (torch.Tensor.neg, "TensorBase.neg"),
    ],
)
def test_a_function_is_told_with_its_module_where_it_has_one(function: Callable[..., Any], text: str) -> None:
    graph = fx.Graph()
    assert target_text(graph.call_function(function, (graph.placeholder("x"),))) == text


def test_what_is_no_value_of_the_graph_is_a_constant_and_no_edge() -> None:
    graph = to_networkx(fx.symbolic_trace(lambda x: torch.add(x, 1, alpha=2)).graph)
    assert list(graph.edges()) == [("x", "add"), ("add", "output")]
    assert graph.nodes["add"]["constants"] == "(('%', 1), {'alpha': 2})"
