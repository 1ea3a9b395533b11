"""A digest of what a graph computes."""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
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


def _call_of(function: Callable[..., Any]) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.call_function(function, (graph.placeholder("x"), 2)))
    return fx.GraphModule(nn.Module(), graph)


def _defined_anew() -> Callable[..., Any]:
    def scaled(x: torch.Tensor, factor: int) -> torch.Tensor:
        return x * factor

    return scaled


def test_a_function_counts_by_its_name_which_is_the_same_in_another_process() -> None:
    first, second = _defined_anew(), _defined_anew()
    assert first is not second
    assert structural_hash(_call_of(first)) == structural_hash(_call_of(second))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (math.pow, operator.pow), (torch.ops.aten.add.Tensor, torch.ops.aten.add.Scalar),
        (torch.ops.higher_order.cond, torch.ops.higher_order.while_loop),
    ],
    ids=["functions of one name", "overloads", "without a name"],
)  # fmt: skip
def test_different_functions_are_different(one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert structural_hash(_call_of(one)) != structural_hash(_call_of(other))


def _applied_to(*args: Any, name: str = "x", annotation: Any = None) -> fx.GraphModule:
    """A graph with one call, in which the node of its input stands for each `...`."""
    graph = fx.Graph()
    x = graph.create_node("placeholder", "x", name=name, type_expr=annotation)

    def filled(value: Any) -> Any:
        if isinstance(value, slice):
            return slice(filled(value.start), filled(value.stop))
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return x if value is ... else value

    call = graph.call_function(print, (x,))
    graph.output(call)
    graph_module = fx.GraphModule(nn.Module(), graph)
    call.args = (x, *map(filled, args))  # generated code cannot spell every one of them
    return graph_module


class Count(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2), [1, 2]), ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({"a": ...}, {"a": 1}),
        (slice(0, 1), slice(0, 2)), (slice(...), slice(1)), (torch.float32, torch.float64), (1, Count.ONE),
        (torch.ones(2), torch.zeros(2)), (torch.ones(2), torch.ones(3)), (torch.ones(2), torch.ones(2, dtype=torch.int64)),
        (torch.zeros(100), torch.eye(100)[99]), (torch.ones(2), torch.ones(2, device="meta")),
        (torch.eye(2).to_sparse(), torch.eye(3).to_sparse()), (_call_of, _sum_of),
    ],
)  # fmt: skip
def test_different_arguments_are_different(one: Any, other: Any) -> None:
    assert structural_hash(_applied_to(one)) != structural_hash(_applied_to(other))


@pytest.mark.parametrize(
    "argument",
    [
        lambda: {"a": ...}, lambda: slice(...), lambda: torch.ones(2), lambda: torch.eye(2).to_sparse(),
        lambda: torch.ones(2, device="meta"), lambda: torch.bfloat16, _defined_anew,
    ],
    ids=["dict", "slice", "tensor", "sparse tensor", "tensor without memory", "dtype", "function"],
)  # fmt: skip
def test_equal_arguments_are_equal_whatever_nodes_are_called_and_where_objects_lie(argument: Callable[[], Any]) -> None:
    first, second = argument(), argument()
    assert structural_hash(_applied_to(first)) == structural_hash(_applied_to(second, name="renamed"))


class Kind:
    """A type of its own."""


def test_what_type_a_node_is_declared_to_have_counts() -> None:
    digests = [structural_hash(_applied_to(annotation=annotation)) for annotation in (None, int, Kind, list[int])]
    assert len(set(digests)) == 4
