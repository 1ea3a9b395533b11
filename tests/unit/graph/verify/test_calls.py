"""What is wrong with what nodes call, where several nodes call the same thing."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize("key", ["val", "example_value"])
def test_a_method_is_looked_for_in_the_value_that_is_on_record(key: str) -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta[key] = torch.ones(2)
    graph.output([graph.call_method("relu", (x,)), graph.call_method("append", (x, 1))])
    assert _problems(graph) == ["append"]


def test_a_method_of_a_constant_is_one_that_it_has() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output([graph.call_method("format", ("{}", x)), graph.call_method("relu", ("{}", x))])
    assert _problems(graph) == ["relu"]


def test_what_does_not_exist_is_told_with_what_it_should_be() -> None:
    graph = fx.Graph()
    called = graph.call_module("inner", (graph.placeholder("x"),))
    graph.output([called, graph.get_attr("scale")])
    graph_module = fx.GraphModule({"inner": nn.ReLU(), "scale": torch.ones(1)}, graph)
    del graph_module.inner, graph_module.scale
    assert [problem.text for problem in problems(graph_module)] == [
        "'inner' refers to the module 'inner', which does not exist.",
        "'scale' refers to the attribute 'scale', which does not exist.",
    ]


def test_the_arguments_that_are_too_few_are_counted_however_they_are_passed() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_module("inner", (x,), {"input2": x}))
    graph_module = fx.GraphModule({"inner": nn.Bilinear(1, 1, 1)}, graph)
    assert problems(graph_module) == []
    graph_module.inner = nn.MultiheadAttention(2, 1)
    graph.find_nodes(op="call_module")[0].kwargs = {"key": x}
    assert [problem.text for problem in problems(graph_module)] == [
        "'inner' passes 2 arguments; the forward of MultiheadAttention needs more."
    ]
