"""What is wrong with what nodes call, where several nodes call the same thing."""

from __future__ import annotations

import torch
from torch import fx, nn

from fxpasses.graph.verify import problems


def _problems(graph: fx.Graph) -> list[str]:
    return [str(problem.node) for problem in problems(fx.GraphModule(nn.Module(), graph))]


def test_each_of_several_equal_wrong_calls_is_wrong() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output([graph.call_function(torch.relu, (x,), {"wrong": 1}) for _ in range(2)])
    assert _problems(graph) == ["relu", "relu_1"]


def test_a_right_call_makes_no_other_function_right() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    right = graph.call_function(torch.sum, (x,), {"dim": 0})
    graph.output([right, graph.call_function(torch.relu, (x,), {"dim": 0})])
    assert _problems(graph) == ["relu"]


def test_a_method_that_one_value_has_may_be_missing_from_another() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    held = graph.call_function(list, ((x,),))
    tensor = graph.call_method("relu", (x,))
    tensor.meta["val"] = torch.ones(2)
    graph.output([graph.call_method("append", (each, x)) for each in (held, tensor)])
    assert _problems(graph) == ["append_1"]
