"""Which nodes a set of values needs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.effects.moments import value_after
from fxpasses.graph.liveness import RandomDraws, StateWrites, live_nodes


def _live(
    module: nn.Module | Callable[..., Any],
    *wanted: str,
    state_writes: StateWrites = "observed",
    rng: RandomDraws = "free",
) -> list[str]:
    graph_module = module if isinstance(module, fx.GraphModule) else fx.symbolic_trace(module)
    graph = graph_module.graph
    outputs = [node for node in graph.nodes if node.name in wanted]
    live = live_nodes(graph, outputs, analyze_effects(graph_module), state_writes=state_writes, rng=rng)
    return [node.name for node in graph.nodes if node in live]


def _writes_twice(x: Tensor) -> tuple[Tensor, ...]:
    y = x + 1
    y.mul_(2)
    z = y - 3
    y.div_(4)
    return y, z


def test_a_write_before_the_last_read_is_kept_and_one_after_it_is_not() -> None:
    assert _live(_writes_twice, "sub") == ["x", "add", "mul_", "sub"]


@pytest.mark.parametrize("reader", [int, float, bool, complex, str, repr, round, range, all, any, print])
def test_a_number_or_text_made_of_elements_needs_what_was_written(reader: Callable[..., Any]) -> None:
    graph = fx.Graph()
    total = graph.call_method("sum", (graph.placeholder("x"),))
    graph.call_method("add_", (total, 1))
    graph.output(graph.create_node("call_function", reader, (total,), name="read"))
    assert _live(fx.GraphModule(nn.Module(), graph), "read") == ["x", "sum_1", "add_", "read"]


def test_the_length_of_a_list_needs_what_was_put_in() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    held = graph.call_function(list, ((x,),))
    graph.call_method("append", (held, x))
    graph.output(graph.call_function(len, (held,)))
    assert _live(fx.GraphModule(nn.Module(), graph), "len_1") == ["x", "list_1", "append", "len_1"]


def test_a_value_is_read_at_birth() -> None:
    assert _live(_writes_twice, "add") == ["x", "add"]


def test_the_result_of_a_write_needs_the_write_and_those_before_it() -> None:
    assert _live(_writes_twice, "div_") == ["x", "add", "mul_", "div_"]


def test_the_output_node_reads_at_the_end() -> None:
    assert _live(_writes_twice, "output") == ["x", "add", "mul_", "sub", "div_", "output"]


def test_a_write_brings_its_own_operands() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        factor = torch.exp(x)
        y.mul_(factor)
        return y - 3

    assert _live(model, "sub") == ["x", "add", "exp", "mul_", "sub"]


def test_a_write_through_a_view_reaches_the_whole_and_other_views() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        first, second = y.chunk(2)
        first.zero_()
        return second + 1, y.view(-1) * 2

    assert "zero_" in _live(model, "mul")


def test_an_unused_assertion_and_what_feeds_it_is_not_needed() -> None:
    def model(x: Tensor) -> Tensor:
        big = torch.exp(x)
        torch._assert(big.sum() > 0, "positive")
        return torch.relu(x)

    assert _live(model, "relu") == ["x", "relu"]


def test_placeholders_are_needed_always() -> None:
    def model(_first: Tensor, x: Tensor, _last: Tensor) -> Tensor:
        return x + 1

    assert _live(model, "add") == ["_first", "x", "_last", "add"]


def test_looking_at_a_shape_does_not_need_the_elements() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        y.relu_()
        return x.view(y.size(0), -1)

    assert _live(model, "view") == ["x", "add", "size", "view"]


def test_looking_at_a_shape_needs_what_changed_the_shape() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        y.unsqueeze_(0)
        return x.view(y.size(0), -1)

    assert "unsqueeze_" in _live(model, "view")


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2))
        self.register_buffer("other", torch.zeros(2))


def _counting(read: bool) -> fx.GraphModule:
    graph = fx.Graph()
    x, count = graph.placeholder("x"), graph.get_attr("count")
    result = graph.create_node("call_function", torch.add, (x, count if read else 1), name="result")
    graph.create_node("call_method", "add_", (count, 1), name="update")
    graph.output(result)
    return fx.GraphModule(_Counting(), graph)


@pytest.mark.parametrize(
    ("policy", "read", "kept"),
    [
        ("observed", True, True),
        ("observed", False, False),
        ("keep", True, True),
        ("keep", False, True),
        ("drop", True, False),
        ("drop", False, False),
    ],
)
def test_state_that_is_written_after_it_was_read(policy: StateWrites, read: bool, kept: bool) -> None:
    assert ("update" in _live(_counting(read), "result", state_writes=policy)) is kept


def test_unless_asked_otherwise_state_that_was_read_is_written() -> None:
    graph_module = _counting(read=True)
    graph = graph_module.graph
    _, _, result, update, _ = graph.nodes
    assert update in live_nodes(graph, [result], analyze_effects(graph_module))


def test_keeping_what_is_written_into_state_keeps_nothing_else() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        local = x + 1
        local.mul_(2)
        y.add_(1)
        return torch.relu(x), torch.exp(x)

    assert _live(model, "relu", state_writes="keep") == ["x", "y", "add_", "relu"]


def test_state_that_is_written_before_it_is_read_is_written_under_every_policy() -> None:
    graph = fx.Graph()
    count = graph.get_attr("count")
    graph.create_node("call_method", "add_", (count, 1), name="update")
    graph.output(graph.create_node("call_function", torch.relu, (graph.get_attr("count"),), name="result"))
    for policy in ("observed", "keep", "drop"):
        assert "update" in _live(fx.GraphModule(_Counting(), graph), "result", state_writes=policy)


def test_a_parameter_that_is_written_is_read_by_the_module_that_owns_it() -> None:
    graph = fx.Graph()
    x, weight = graph.placeholder("x"), graph.get_attr("linear.weight")
    graph.create_node("call_method", "zero_", (weight,), name="update")
    graph.output(graph.call_module("linear", (x,)))
    model = nn.Module()
    model.linear = nn.Linear(2, 2)
    assert "update" in _live(fx.GraphModule(model, graph), "linear")


def test_a_module_that_runs_twice_keeps_its_running_statistics() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.norm(x), self.norm(x * 2)

    assert "norm_1" in _live(Model(), "norm")
    assert "norm_1" not in _live(Model(), "norm", state_writes="drop")


@pytest.mark.parametrize(("rng", "kept"), [("free", False), ("keep", True)])
def test_random_draws_that_nothing_needs(rng: RandomDraws, kept: bool) -> None:
    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        return functional.dropout(x, 0.5), functional.dropout(x, 0.5)

    assert ("dropout" in _live(model, "dropout_1", rng=rng)) is kept


def test_keeping_random_draws_keeps_nothing_else() -> None:
    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.exp(functional.dropout(x, 0.5)), torch.relu(x)

    assert _live(model, "relu", rng="keep") == ["x", "dropout", "relu"]


def test_switches_of_autograd_stay() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.create_node("call_function", torch._C._set_grad_enabled, (False,), name="off")
    result = graph.call_function(torch.relu, (x,))
    graph.create_node("call_function", torch._C._set_grad_enabled, (True,), name="on")
    graph.output(result)
    assert {"off", "on"} <= set(_live(fx.GraphModule(nn.Module(), graph), "relu"))


class TestMoments:
    def _block(self) -> tuple[fx.GraphModule, fx.Node, fx.Node]:
        def block(x: Tensor) -> tuple[Tensor, Tensor]:
            y = x + 1
            y.mul_(2)
            z = y - 3
            return y, z

        graph_module = fx.symbolic_trace(block)
        _, add, mul_, *_ = graph_module.graph.nodes
        return graph_module, add, mul_

    def test_a_value_after_a_write_is_a_value_of_its_own(self) -> None:
        graph_module, add, mul_ = self._block()
        later = value_after(add, mul_, analyze_effects(graph_module))
        graph_module.graph.output_node().args = ((add, later),)
        live = live_nodes(graph_module.graph, [later], analyze_effects(graph_module))
        assert mul_ in live
        graph_module.recompile()
        assert [value.item() for value in graph_module(torch.zeros(()))] == [2, 2]

    def test_what_is_no_single_tensor_is_copied_after_a_write(self) -> None:
        def block(x: Tensor) -> object:
            parts = (x + 1).chunk(2)
            y = parts[0].mul_(2)
            return parts, y

        graph_module = fx.symbolic_trace(block)
        _, _, chunk, _, mul_, _ = graph_module.graph.nodes
        later = value_after(chunk, mul_, analyze_effects(graph_module))
        assert later is mul_.next
        mul_.graph.output_node().args = (later,)
        graph_module.recompile()
        assert [part.item() for part in graph_module(torch.zeros(2))] == [2, 1]

    def test_a_value_that_nothing_wrote_is_itself(self) -> None:
        graph_module, add, mul_ = self._block()
        effects = analyze_effects(graph_module)
        assert value_after(mul_, mul_.next, effects) is mul_
        assert value_after(add, add, effects) is add


def _long_chain(length: int) -> fx.GraphModule:
    graph = fx.Graph()
    first = value = graph.placeholder("x")
    for index in range(length):
        if index % 5 == 0:
            value = graph.call_method("view", (value, -1))
        elif index % 5 == 1:
            graph.call_method("add_", (value, 1))
        elif index % 5 == 2:
            value = graph.call_function(torch.relu, (value,))
        elif index % 5 == 3:
            value = graph.call_function(operator.getitem, (value, slice(None)))
        else:
            value = graph.call_function(max, (value, first))
    graph.output(value)
    return fx.GraphModule(nn.Module(), graph)


def test_a_graph_of_a_hundred_thousand_nodes_is_no_trouble() -> None:
    graph_module = _long_chain(100_000)
    effects = analyze_effects(graph_module)
    live = live_nodes(graph_module.graph, [graph_module.graph.output_node()], effects)
    assert len(live) == 100_002
