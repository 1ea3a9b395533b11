from __future__ import annotations

import operator

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from fxpasses.capture.values.kinds import surely_tensor


def last(build):
    graph = fx.Graph()
    return build(graph, graph.placeholder("x"))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda graph, x: x, False),
        (lambda graph, x: graph.call_function(torch.cat, ([x, x],)), True),
        (lambda graph, x: graph.call_function(functional.gelu, (x,)), True),
        (lambda graph, x: graph.call_method("reshape", (x, -1)), True),
        (lambda graph, x: graph.call_method("pop", (x,)), False),
        (lambda graph, x: graph.call_function(operator.getitem, (x, 0)), False),
        (lambda graph, x: graph.call_function(operator.getitem, (x, (0, 1))), False),
        (lambda graph, x: graph.call_function(operator.getitem, (x, (slice(None), 1))), True),
        (lambda graph, x: graph.call_function(operator.getitem, (x, (..., 1))), True),
        (lambda graph, x: graph.call_function(operator.getitem, (graph.call_method("view", (x, 2)), 0)), True),
        (lambda graph, x: graph.call_function(operator.add, (graph.call_method("view", (x, 2)), x)), True),
        (lambda graph, x: graph.call_function(operator.add, (x, [graph.call_method("view", (x, 2))])), False),
        (lambda graph, x: graph.call_function(getattr, (x, "shape")), False),
    ],
)
def test_what_is_known_of_a_value(build, expected):
    assert surely_tensor(last(build), nn.Module()) is expected
