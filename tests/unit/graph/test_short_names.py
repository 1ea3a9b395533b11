from __future__ import annotations

import math
import operator
from typing import Any

import pytest
import torch
from torch import fx
from torch.nn import functional

from fxpasses.graph.numbers import makes_number
from fxpasses.graph.short_names import short_name


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (operator.add, "add"), (operator.iadd, "add"), (operator.and_, "and_"), (operator.iand, "and_"),
        (torch.relu, "relu"), (functional.relu, "relu"), (getattr, "getattr"), (operator.getitem, "getitem"),
        (torch.ops.aten.add.Tensor, "add"), (torch.add, "add"), (math.floor, "floor"), (torch._assert, "_assert"),
    ],
)  # fmt: skip
def test_a_function_is_called_what_it_is_called(function: Any, expected: str) -> None:
    graph = fx.Graph()
    assert short_name(graph.call_function(function, (graph.placeholder("x"),))) == expected


@pytest.mark.parametrize(
    "name",
    ["add", "and_", "floordiv", "lshift", "matmul", "mod", "mul", "or_", "pow", "rshift", "sub", "truediv", "xor"],
)
def test_an_augmented_assignment_is_called_like_the_operator(name: str) -> None:
    graph = fx.Graph()
    functions = [getattr(operator, each) for each in (name, f"i{name.rstrip('_')}")]
    assert [short_name(graph.call_function(function)) for function in functions] == [name, name]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("view", "view"),
        ("__getitem__", "getitem"),
        ("add_", "add_"),
        ("isNone", "is_none"),
        ("__own", "__own"),
        ("own__", "own__"),
    ],
)
def test_a_method_is_called_what_it_is_called(method: str, expected: str) -> None:
    graph = fx.Graph()
    assert short_name(graph.call_method(method, (graph.placeholder("x"),))) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [("x", "x"), ("*args", "args"), ("**kwargs", "kwargs"), ("x_1", "x_1"), ("_x", "_x"), ("*_", "_")],
)
def test_an_argument_keeps_its_name(target: str, expected: str) -> None:
    assert short_name(fx.Graph().placeholder(target)) == expected


@pytest.mark.parametrize("op", ["call_module", "get_attr"])
def test_a_module_or_parameter_is_called_by_its_whole_path_as_it_is_written(op: str) -> None:
    assert short_name(fx.Graph().create_node(op, "layer1.0.convB")) == "layer1_0_convB"


def test_a_short_name_is_what_torch_would_call_the_only_node() -> None:
    for function in (torch.relu, torch.flatten, operator.matmul, functional.softmax, torch.cat):
        graph = fx.Graph()
        node = graph.call_function(function)
        assert short_name(node) == node.name


def _numbers(function: Any) -> dict[str, bool]:
    return {node.name: makes_number(node) for node in fx.symbolic_trace(function).graph.nodes}


def test_arithmetic_on_sizes_makes_numbers() -> None:
    found = _numbers(lambda x: x.reshape(x.shape[0] // 2, x.size(1) * 2))
    assert {name for name, number in found.items() if number} == {"getattr_1", "getitem", "floordiv", "size", "mul"}


def test_arithmetic_with_a_tensor_does_not() -> None:
    assert not _numbers(lambda x: x * x.size(0))["mul"]


def test_a_long_chain_of_numbers_is_followed_without_recursion() -> None:
    def chain(x: Any) -> Any:
        size = x.size(0)
        for _ in range(3000):
            size = size + 1
        return size

    assert _numbers(chain)["add_2999"]
