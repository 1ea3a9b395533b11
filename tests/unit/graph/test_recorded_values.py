"""Whether a value in a node's meta is what its operation computes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.recorded_values import RecordedValues
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
