"""Whether a value in a node's meta is what its operation computes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from fxpasses.graph.recorded_values import RecordedValues, recorded_value
from fxpasses.graph.state import GraphColumns


def _difference(recorded: RecordedValues, node: fx.Node) -> str | None:
    return next(recorded.difference(row) for row in GraphColumns.of(node.graph).rows() if row.node is node)


def _call(function: Callable[..., Any], *args: Any) -> fx.Node:
    """A call with a recorded value, given inputs of two by three; a list stands for a list of two of them."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.empty(2, 3)
    node = graph.call_function(function, tuple([x, x] if arg is list else arg for arg in args) or (x,))
    node.meta["val"] = torch.empty(7)
    return node


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (torch.relu, ()), (torch._C._nn.gelu, ()), (torch.einsum, ("ij,ij->ij", list)), (nn.functional.relu, ()),
        (operator.neg, ()), (math.prod, (list,)), (torch.ops.aten.relu.default, ()),
    ],
    ids=["torch", "torch._C._nn", "torch.functional", "torch.nn.functional", "operator", "math", "aten"],
)  # fmt: skip
def test_a_stale_value_of_a_function_of_torch_or_python_is_found(function: Callable[..., Any], args: Any) -> None:
    node = _call(function, *args)
    assert _difference(RecordedValues(nn.Module()), node) == "it says float32[7], and the operation makes float32[2, 3]"


def test_a_stale_value_is_found_each_time_until_it_is_right() -> None:
    recorded, node = RecordedValues(nn.Module()), _call(torch.relu)
    assert _difference(recorded, node) is not None
    assert _difference(recorded, node) is not None
    node.meta["val"] = torch.empty(2, 3)
    assert _difference(recorded, node) is None
    assert _difference(recorded, node) is None


def test_a_function_that_is_not_of_torch_is_not_called() -> None:
    called: list[torch.Tensor] = []

    def own(x: torch.Tensor) -> torch.Tensor:
        called.append(x)
        return x

    assert _difference(RecordedValues(nn.Module()), _call(own)) is None
    assert not called


def test_a_stale_value_is_found_where_the_device_that_the_call_names_is_missing() -> None:
    node = _call(torch.zeros_like)
    node.kwargs = {"device": "cuda:99"}
    assert _difference(RecordedValues(nn.Module()), node) == "it says float32[7], and the operation makes float32[2, 3]"


def test_a_recorded_size_that_is_no_number_is_taken_to_be_right() -> None:
    node = _call(torch.relu)
    sizes = StatelessSymbolicContext([DimDynamic.DYNAMIC, DimDynamic.DYNAMIC])
    mode = FakeTensorMode(shape_env=ShapeEnv())
    node.meta["val"] = mode.from_tensor(torch.empty(2, 3), symbolic_context=sizes)
    assert _difference(RecordedValues(nn.Module()), node) is None


@pytest.mark.parametrize("key", ["val", "tensor_meta", "example_value"])
def test_a_value_is_read_from_where_each_tool_of_torch_records_it(key: str) -> None:
    node, value = fx.Graph().placeholder("x"), torch.empty(2)
    assert recorded_value(node) is None
    node.meta[key] = value
    assert recorded_value(node) is value
