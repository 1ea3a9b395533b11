"""A digest of what a graph computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from fxpasses.graph.structural_hash import structural_hash


def _sum_of(**kwargs: Any) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.sum, (graph.placeholder("x"),), kwargs))
    return fx.GraphModule(nn.Module(), graph)


def _with_inner(**inner: fx.GraphModule) -> fx.GraphModule:
    root = nn.Module()
    for name, graph_module in inner.items():
        root.add_module(name, graph_module)
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output([graph.call_module(name, (x,)) for name in sorted(inner)])
    result = fx.GraphModule(root, graph)
    for name in inner:
        delattr(result, name)
    for name, graph_module in inner.items():
        result.add_module(name, graph_module)
    return result


def test_what_is_passed_by_keyword_counts() -> None:
    digests = [structural_hash(_sum_of(**kwargs)) for kwargs in ({}, {"dim": 0}, {"dim": 1}, {"axis": 1})]
    assert len(set(digests)) == 4
    assert {len(digest) for digest in digests} == {32}


def test_it_counts_which_of_the_graphs_inside_is_where() -> None:
    first, second = _sum_of(dim=0), _sum_of(dim=1)
    assert structural_hash(_with_inner(a=first, b=second)) != structural_hash(_with_inner(a=second, b=first))
    assert structural_hash(_with_inner(a=first, b=second)) == structural_hash(_with_inner(b=second, a=first))


def test_the_name_of_a_graph_inside_counts_though_nothing_calls_it() -> None:
    first, second = _sum_of(), _sum_of()
    first.add_module("a", _sum_of(dim=0))
    second.add_module("b", _sum_of(dim=0))
    assert structural_hash(first) != structural_hash(second)
