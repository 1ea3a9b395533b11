"""What the values of a graph are taken to be."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.effects.behaviour import Kind

Make = Callable[[fx.Graph, fx.Node], fx.Node]


class _TakesAnything(nn.Module):
    def forward(self, value: Any) -> Any:
        return value


def _kind_of(make: Make, annotation: type | None = None) -> Kind:
    graph = fx.Graph()
    made = make(graph, graph.placeholder("x", type_expr=annotation))
    graph.output(made)
    root = nn.ModuleDict({"activation": nn.ReLU(), "same": nn.Identity(), "own": _TakesAnything()})
    return analyze_effects(fx.GraphModule(root, graph)).kinds[made]


def _size(graph: fx.Graph, x: fx.Node) -> fx.Node:
    return graph.call_method("size", (x, 0))


def _function(target: Callable[..., Any], *args: Any) -> Make:
    return lambda graph, x: graph.call_function(target, (x, *args))


def _method(name: str, *args: Any) -> Make:
    return lambda graph, x: graph.call_method(name, (x, *args))


def _item(graph: fx.Graph, owner: fx.Node, index: object) -> fx.Node:
    return graph.call_function(operator.getitem, (owner, index))


def _negated_size(graph: fx.Graph, x: fx.Node) -> fx.Node:
    size = _size(graph, x)
    graph.call_method("__neg__", (size,))
    return size


def _copy_used(use: Callable[[fx.Graph, fx.Node], object]) -> Make:
    def make(graph: fx.Graph, x: fx.Node) -> fx.Node:
        copied = graph.call_function(copy.deepcopy, (x,))
        use(graph, copied)
        return copied

    return make


_OF_ANYTHING: list[tuple[str, Make, Kind]] = [
    ("a copy", _function(copy.deepcopy), "any"),
    ("a number", _function(int), "none"),
    ("a sum of what may be lists", lambda graph, x: graph.call_function(operator.add, (x, x)), "any"),
    ("a sum with a number", _function(operator.add, 1), "numeric"),
    ("an item of a list", lambda graph, x: graph.call_function(operator.getitem, ([x], 0)), "any"),
    ("what may be a list, extended", lambda graph, x: graph.call_function(operator.iadd, (x, [x])), "any"),
    ("a size, increased", lambda graph, x: graph.call_function(operator.iadd, (_size(graph, x), 1)), "none"),
    ("a number with a size", lambda graph, x: graph.call_method("__radd__", (_size(graph, x), 1)), "none"),
    ("a product with a float", _function(operator.mul, 0.5), "numeric"),
    ("a product with an integer, or a list repeated", _function(operator.mul, 2), "any"),
    *((f"{name} with a number", _method(name, 1), "numeric") for name in ("__add__", "__or__", "__ror__")),
]
_BY_USE: list[tuple[str, Callable[[fx.Graph, fx.Node], object], Kind]] = [
    ("a method of tensors", lambda graph, value: graph.call_method("relu", (value,)), "tensor"),
    ("a method of lists, too", lambda graph, value: graph.call_method("index", (value, 0)), "any"),
    ("a method of neither", lambda graph, value: graph.call_method("labels", (value,)), "any"),
    ("a module of someone's own", lambda graph, value: graph.call_module("own", (value,)), "any"),
    ("behind a tensor", lambda graph, value: graph.call_method("view", (torch.ones(2), value)), "any"),
    ("a layer", lambda graph, value: graph.call_module("activation", (value,)), "tensor"),
    ("a layer, by keyword", lambda graph, value: graph.call_module("activation", (), {"input": value}), "any"),
    ("a layer that takes anything", lambda graph, value: graph.call_module("same", (value,)), "any"),
    *(
        (f"its {name}", lambda graph, value, name=name: graph.call_function(getattr, (value, name)), "tensor")
        for name in ("shape", "dtype", "device", "ndim")
    ),
    ("any attribute", lambda graph, value: graph.call_function(getattr, (value, "loss")), "any"),
    ("another function", lambda graph, value: graph.call_function(operator.getitem, (value, "shape")), "any"),
]
_OF_A_TENSOR: list[tuple[str, Make, Kind]] = [
    ("a size, increased", lambda graph, x: graph.call_function(operator.iadd, (_size(graph, x), x)), "tensor"),
    ("a tensor, increased", _function(operator.iadd, 1), "tensor"),
    ("places", _function(torch.nonzero), "tensor"),
    (
        "places in each dimension",
        lambda graph, x: graph.call_function(torch.nonzero, (x,), {"as_tuple": True}),
        "any",
    ),
    ("einsum", lambda graph, x: graph.call_function(torch.einsum, ("ij->ji", x)), "tensor"),
    ("of one dimension at least", _function(torch.atleast_1d), "any"),
    ("one of several parts", lambda graph, x: _item(graph, graph.call_function(torch.chunk, (x, 2)), 0), "tensor"),
    ("some of several parts", lambda graph, x: _item(graph, graph.call_function(torch.chunk, (x, 2)), slice(1)), "any"),
    ("a size that is negated", _negated_size, "none"),
]


@pytest.mark.parametrize(("make", "kind"), [row[1:] for row in _OF_ANYTHING], ids=[row[0] for row in _OF_ANYTHING])
def test_what_is_made_of_anything(make: Make, kind: Kind) -> None:
    assert _kind_of(make) == kind


@pytest.mark.parametrize(("make", "kind"), [row[1:] for row in _OF_A_TENSOR], ids=[row[0] for row in _OF_A_TENSOR])
def test_what_is_made_of_a_tensor(make: Make, kind: Kind) -> None:
    assert _kind_of(make, Tensor) == kind


@pytest.mark.parametrize(("use", "kind"), [row[1:] for row in _BY_USE], ids=[row[0] for row in _BY_USE])
def test_a_value_is_a_tensor_where_it_is_used_for_what_only_tensors_can_do(
    use: Callable[[fx.Graph, fx.Node], object], kind: Kind
) -> None:
    assert _kind_of(_copy_used(use)) == kind


@pytest.mark.parametrize("annotation", [Tensor, "Tensor", "torch.Tensor"])
def test_an_argument_that_is_declared_to_be_a_tensor_is_one(annotation: Any) -> None:
    assert _kind_of(lambda _graph, x: x, annotation) == "tensor"


@pytest.mark.parametrize(("example", "kind"), [(torch.ones(2), "tensor"), (3, "none"), ([torch.ones(2)], "any")])
def test_an_argument_is_what_the_example_of_it_is(example: object, kind: Kind) -> None:
    def with_example(_graph: fx.Graph, x: fx.Node) -> fx.Node:
        x.meta["val"] = example
        return x

    assert _kind_of(with_example) == kind
