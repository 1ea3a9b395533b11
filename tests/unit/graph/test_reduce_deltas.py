"""What each way to make a graph smaller does by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from fxpasses.graph.reduce import Reduced, minimize


def _targets(graph_module: fx.GraphModule) -> list[str]:
    nodes = [node for node in graph_module.graph.nodes if node.op not in ("placeholder", "output")]
    return [getattr(node.target, "__name__", str(node.target)) for node in nodes]


def _with_one_delta(
    delta: str, model: fx.GraphModule | Callable[..., Any], *wanted: str, inputs: int = 1, max_queries: int = 100
) -> Reduced:
    graph_module = model if isinstance(model, fx.GraphModule) else fx.symbolic_trace(model)

    def fails(candidate: fx.GraphModule, args: Any) -> bool:
        return set(wanted) <= set(_targets(candidate))

    return minimize(graph_module, [torch.ones(2)] * inputs, fails, deltas=[delta], max_queries=max_queries)


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


def test_an_input_that_nothing_uses_goes_and_a_write_whose_result_nobody_uses_stays() -> None:
    def model(x: Tensor, unused: Tensor) -> Tensor:
        y = torch.sin(x)
        y.add_(1)
        return y

    reduced = _with_one_delta("inputs", model, "add_", inputs=2)
    assert _targets(reduced.graph_module) == ["sin", "add_"]
    assert len(reduced.args) == 1


def test_one_input_stands_for_two_and_a_write_whose_result_nobody_uses_stays() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        z = torch.sub(x, y)
        z.add_(1)
        return z

    reduced = _with_one_delta("inputs", model, "add_", inputs=2)
    assert _targets(reduced.graph_module) == ["sub", "add_"]
    assert len(reduced.args) == 1


def test_an_operation_becomes_an_input_and_a_write_whose_result_nobody_uses_stays() -> None:
    def model(x: Tensor) -> Tensor:
        y = torch.sin(torch.cos(x))
        y.add_(1)
        return y

    assert _targets(_with_one_delta("placeholders", model, "add_").graph_module) == ["add_"]


def test_inputs_and_their_values_are_in_one_order() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.sub(torch.sin(x), x)

    graph_module, args = _with_one_delta("placeholders", model, "sub")
    assert _targets(graph_module) == ["sub"]
    assert torch.equal(graph_module(*args), model(torch.ones(2)))


def test_an_operation_becomes_the_first_input_of_a_graph_without_inputs() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.tanh, (graph.call_function(torch.neg, (graph.get_attr("weight"),)),)))
    reduced = _with_one_delta("placeholders", fx.GraphModule({"weight": torch.ones(2)}, graph), "tanh", inputs=0)
    assert _targets(reduced.graph_module) == ["tanh"]
    assert torch.equal(reduced.args[0], -torch.ones(2))


def test_inputs_that_nothing_uses_go_at_once() -> None:
    def model(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return torch.sin(b)

    assert len(_with_one_delta("inputs", model, "sin", inputs=4, max_queries=2).args) == 1


@pytest.mark.parametrize(("least", "left"), [(2, [1, 3]), (3, [1, 2, 3])])
def test_inputs_that_nothing_uses_go_one_by_one_where_some_are_needed(least: int, left: list[int]) -> None:
    graph_module = fx.symbolic_trace(lambda a, b, c, d: torch.sin(b))
    args = [torch.ones(size) for size in range(4)]
    reduced = minimize(graph_module, args, lambda _, args: len(args) >= least and len(args[-1]) == 3, deltas=["inputs"])
    assert [len(arg) for arg in reduced.args] == left


def test_each_input_is_merged_with_the_first_of_its_type() -> None:
    graph_module = fx.symbolic_trace(lambda a, b, c, d, e: (a, b, c, d, e))
    args = [torch.ones(size) for size in (2, 3, 2, 3, 3)]
    reduced = minimize(graph_module, args, lambda module, args: len(module(*args)) == 5, deltas=["inputs"])
    assert [len(arg) for arg in reduced.args] == [2, 3]
    assert [len(value) for value in reduced.graph_module(*reduced.args)] == [2, 3, 2, 3, 3]


def test_an_input_is_merged_with_another_whatever_is_read_before_them() -> None:
    graph = fx.Graph()
    weight = graph.get_attr("weight")
    total = graph.call_function(torch.add, (graph.placeholder("x"), graph.placeholder("y")))
    graph.output(graph.call_function(torch.sub, (weight, total)))
    model = fx.GraphModule({"weight": torch.zeros(2)}, graph)
    graph_module, args = _with_one_delta("inputs", model, "add", "sub", inputs=2)
    assert len(args) == 1
    assert torch.equal(graph_module(*args), torch.full((2,), -2.0))


def test_a_number_is_merged_with_no_tensor() -> None:
    graph_module = fx.symbolic_trace(lambda number, x: x * number)
    reduced = minimize(graph_module, [2, torch.ones(2)], lambda *_: True, deltas=["inputs"])
    assert reduced.args[0] == 2
    assert len(reduced.args) == 2


def test_one_size_becomes_smaller_and_the_others_stay() -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.sin(x))
    reduced = minimize(graph_module, [torch.ones(4, 3)], lambda _, args: args[0].size(1) == 3, deltas=["shapes"])
    assert reduced.args[0].shape == (1, 3)


def test_sizes_that_became_equal_become_smaller_together_at_once() -> None:
    def fails(_: fx.GraphModule, args: Any) -> bool:
        return len(args[0]) in (len(args[1]), 2 * len(args[1]))

    graph_module = fx.symbolic_trace(lambda x, y: (x, y))
    reduced = minimize(graph_module, [torch.ones(4), torch.ones(2)], fails, deltas=["shapes"], max_queries=4)
    assert [len(arg) for arg in reduced.args] == [1, 1]


@pytest.mark.parametrize("args", [["no tensor"], []], ids=["a wrong input", "too few inputs"])
def test_operations_of_a_graph_that_cannot_be_run_are_removed_too(args: list[str]) -> None:
    def model(x: Tensor) -> Tensor:
        return torch.tanh(torch.cos(torch.exp(torch.sin(x))))

    graph_module = fx.symbolic_trace(model)
    reduced = minimize(graph_module, args, lambda module, _: "tanh" in _targets(module), deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["tanh"]


def test_operations_on_numbers_are_removed_together() -> None:
    def fails(module: fx.GraphModule, _: Any) -> bool:
        return "sub" in _targets(module) and len(_targets(module)) % 2 == 0

    graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2 // 3 - 4)
    reduced = minimize(graph_module, [7], fails, deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["floordiv", "sub"]
