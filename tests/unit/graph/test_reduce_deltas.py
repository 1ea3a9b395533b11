"""What each way to make a graph smaller does by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from fxpasses.graph.reduce import Reduced, minimize


def _targets(graph_module: fx.GraphModule) -> list[str]:
    nodes = [node for node in graph_module.graph.nodes if node.op not in ("placeholder", "output")]
    return [getattr(node.target, "__name__", str(node.target)) for node in nodes]


def _with_one_delta(
    delta: str, model: fx.GraphModule | Callable[..., Any], *wanted: str, max_queries: int = 100
) -> Reduced:
    graph_module = model if isinstance(model, fx.GraphModule) else fx.symbolic_trace(model)

    def fails(candidate: fx.GraphModule, args: Any) -> bool:
        return set(wanted) <= set(_targets(candidate))

    return minimize(graph_module, [torch.ones(2)], fails, deltas=[delta], max_queries=max_queries)


def test_a_write_whose_result_nobody_uses_stays_while_others_go() -> None:
    def model(x: Tensor) -> Tensor:
        y = torch.sin(x)
        y.add_(1)
        return torch.tanh(y)

    assert _targets(_with_one_delta("bypass", model, "add_").graph_module) == ["add_"]


def test_with_what_comes_after_the_failure_go_writes_whose_result_nobody_uses() -> None:
    def model(x: Tensor) -> Tensor:
        y = torch.cos(x)
        torch.sin(y).add_(1)
        return y

    assert _targets(_with_one_delta("truncate", model, "sin").graph_module) == ["cos", "sin"]


def test_all_that_comes_before_the_failure_becomes_an_input_at_once() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.tanh(torch.cos(torch.exp(torch.sin(x))))

    reduced = _with_one_delta("placeholders", model, "tanh", max_queries=3)
    assert _targets(reduced.graph_module) == ["tanh"]
    (value,) = reduced.args
    assert torch.equal(value, torch.cos(torch.exp(torch.sin(torch.ones(2)))))


def test_what_is_no_tensor_does_not_become_an_input() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.tanh(x) * torch.sin(x).size(0)

    assert _targets(_with_one_delta("placeholders", model, "tanh", "mul").graph_module) == ["tanh", "size", "mul"]


def test_a_parameter_does_not_become_an_input() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.mul, (x, graph.get_attr("weight"))))
    model = fx.GraphModule({"weight": torch.ones(2)}, graph)
    assert _targets(_with_one_delta("placeholders", model, "mul").graph_module) == ["weight", "mul"]


def test_a_write_whose_result_nobody_uses_goes_where_the_failure_does_not_need_it() -> None:
    def model(x: Tensor) -> Tensor:
        y = torch.sin(x)
        y.add_(1)
        return y

    reduced = _with_one_delta("placeholders", model, "sin")
    assert _targets(reduced.graph_module) == ["sin"]
    assert len(reduced.args) == 1


def test_what_is_used_before_the_last_input_does_not_become_one() -> None:
    graph = fx.Graph()
    weight = graph.get_attr("weight")
    early = graph.call_function(torch.tanh, (graph.call_function(torch.neg, (weight,)),))
    graph.output(graph.call_function(torch.add, (early, graph.placeholder("x"))))
    model = fx.GraphModule({"weight": torch.ones(2)}, graph)
    assert _targets(_with_one_delta("placeholders", model, "tanh").graph_module) == ["weight", "neg", "tanh", "add"]
