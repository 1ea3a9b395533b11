"""Which nodes surely compute a number, a shape or another immutable value, held against what they compute."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest
import torch
from torch import fx

from fxpasses.graph.numbers import makes_number

_IMMUTABLE = (int, float, bool, tuple, torch.dtype, torch.device)


@pytest.mark.parametrize("name", ["dim", "item", "ndimension", "nelement", "numel", "size", "storage_offset", "stride"])
def test_a_method_of_a_tensor_that_makes_a_number_makes_one(name: str) -> None:
    node = fx.Graph().call_method(name, (fx.Graph().placeholder("x"),))
    assert isinstance(getattr(torch.ones(1), name)(), _IMMUTABLE)
    assert makes_number(node)


@pytest.mark.parametrize("name", ["device", "dtype", "is_cuda", "itemsize", "nbytes", "ndim", "shape"])
def test_an_attribute_of_a_tensor_that_is_a_number_is_one(name: str) -> None:
    graph = fx.Graph()
    node = graph.call_function(getattr, (graph.placeholder("x"), name))
    assert isinstance(getattr(torch.ones(1), name), _IMMUTABLE)
    assert makes_number(node)


@pytest.mark.parametrize("name", ["data", "T", "grad"])
def test_an_attribute_that_is_a_tensor_is_no_number(name: str) -> None:
    graph = fx.Graph()
    assert not makes_number(graph.call_function(getattr, (graph.placeholder("x"), name)))


@pytest.mark.parametrize("function", [len, int, float, bool, round, math.sqrt])
def test_a_function_that_makes_a_number_makes_one(function: object) -> None:
    graph = fx.Graph()
    assert makes_number(graph.call_function(function, (graph.placeholder("x"),)))  # pyright: ignore


@pytest.mark.parametrize("name", ["prod", "sumprod"])
def test_a_product_of_tensors_is_no_number(name: str) -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    assert isinstance(math.prod([torch.ones(2), torch.ones(2)]), torch.Tensor)
    if hasattr(math, name):
        assert not makes_number(graph.call_function(getattr(math, name), ([x, x],)))


def test_what_calls_another_function_may_make_anything() -> None:
    graph = fx.Graph()
    number = graph.call_method("dim", (graph.placeholder("x"),))
    assert makes_number(graph.call_function(operator.add, (number, 1)))
    if hasattr(operator, "call"):
        assert not makes_number(graph.call_function(operator.call, (torch.ones, number)))


def test_earlier_answers_serve_later_ones() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    size = graph.call_method("size", (x, 0))
    double = graph.call_function(operator.mul, (size, 2))
    sum_ = graph.call_function(operator.add, (double, 1))
    known: dict[fx.Node, bool] = {}
    assert makes_number(double, known)
    assert known == {double: True}
    assert makes_number(sum_, known)
    assert not makes_number(x, known)
    assert not makes_number(graph.call_function(operator.add, (sum_, x)), known)


def test_a_number_that_is_used_twice_is_followed_once() -> None:
    graph = fx.Graph()
    first = second = graph.call_method("dim", (graph.placeholder("x"),))
    for _ in range(60):
        first, second = second, graph.call_function(operator.add, (first, second))
    assert makes_number(second)


@pytest.mark.parametrize(
    ("function", "args"),
    [(operator.mul, ([1],)), (operator.getitem, (([1], [2]),)), (operator.add, (torch.ones(2),))],
    ids=["a list", "a list inside", "a tensor"],
)
def test_arithmetic_with_what_can_be_changed_makes_no_number(function: Any, args: tuple[Any, ...]) -> None:
    graph = fx.Graph()
    number = graph.call_method("dim", (graph.placeholder("x"),))
    assert not isinstance(function(*args, 1), _IMMUTABLE)
    assert not makes_number(graph.call_function(function, (*args, number)))


def test_an_operator_on_constants_alone_may_make_anything() -> None:
    assert not makes_number(fx.Graph().call_function(operator.attrgetter, ("shape",)))
