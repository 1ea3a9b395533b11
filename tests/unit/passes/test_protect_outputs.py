"""Returned values are as they were when they were computed, and nothing is copied that need not be."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import Tensor, fx, nn
from torch.fx import _symbolic_trace
from torch.nn import functional
from torchvision import models
from torchvision.models.feature_extraction import NodePathTracer

from fxpasses.errors import UnselectableValueError
from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.effects.copies import clone_each, clone_value, insert_copy
from fxpasses.graph.meta import qualified_name, set_name
from fxpasses.passes.protect_outputs import ProtectOutputs, overwritten_outputs, protect_outputs


def _returning_all(function: Callable[..., Any] | nn.Module) -> fx.GraphModule:
    """Traces, and makes the graph return every value by its node's name."""
    graph_module = fx.symbolic_trace(function)
    graph = graph_module.graph
    graph.output_node().args = ({node.name: node for node in graph.nodes if node.op != "output"},)
    graph_module.recompile()
    return graph_module


def _check(graph_module: fx.GraphModule, *inputs: Tensor) -> int:
    """Protects, compares with values cloned when the unprotected graph makes them, and returns the number of copies."""
    oracle = ValuesAtBirth(copy.deepcopy(graph_module))
    oracle.run(*(each.clone() for each in inputs))
    result = ProtectOutputs()(graph_module)
    graph_module.graph.lint()
    graph_module.recompile()
    actual = graph_module(*(each.clone() for each in inputs))
    assert_bit_equal(actual, {name: oracle.values[name] for name in actual})
    assert result.modified is (result.copies > 0)
    return result.copies


def test_a_model_without_in_place_operations_gets_no_copy() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Flatten(), nn.Dropout())
    assert _check(_returning_all(model.eval()), torch.randn(3, 2)) == 0


def test_the_input_is_a_value_like_any_other() -> None:
    assert _check(_returning_all(nn.Sequential(nn.ReLU(inplace=True))), torch.randn(3, 2)) == 1


def test_the_input_may_be_a_container() -> None:
    def model(values: dict[str, Tensor]) -> Tensor:
        return values["a"].relu_()

    graph_module = _returning_all(model)
    result = ProtectOutputs()(graph_module)
    graph_module.recompile()
    values = {"a": -torch.ones(2)}
    actual = graph_module(values)
    assert result.copies == 2
    assert actual["values"]["a"].tolist() == actual["getitem"].tolist() == [-1, -1]
    assert values["a"].tolist() == actual["relu_"].tolist() == [0, 0]


def test_views_of_what_is_written_are_copied_and_views_of_the_result_are_not() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        before = y.view(-1)
        y.relu_()
        after = y.view(-1)
        return before, after

    assert _check(_returning_all(model), torch.randn(2, 2) - 1) == 2


def test_only_values_before_the_last_write_are_copied() -> None:
    def model(x: Tensor) -> Tensor:
        return (x + 1).mul_(2).add_(3).relu_()

    assert _check(_returning_all(model), torch.randn(2, 2) - 3) == 3


def test_copies_stand_in_the_order_of_execution() -> None:
    def model(x: Tensor) -> Tensor:
        return (x + 1).mul_(2).add_(3).relu_()

    graph_module = _returning_all(model)
    add, mul, add_, _ = list(graph_module.graph.nodes)[1:5]
    assert overwritten_outputs(graph_module.graph, analyze_effects(graph_module)) == (add, mul, add_)
    ProtectOutputs()(graph_module)
    copies = graph_module.graph.find_nodes(op="call_method", target="clone")
    assert [node.args[0] for node in copies] == [add, mul, add_]


def test_a_value_returned_under_two_names_is_copied_once() -> None:
    def model(x: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        y = x + 1
        return y, {"again": y}, y.relu_()

    graph_module = fx.symbolic_trace(model)
    assert ProtectOutputs()(graph_module).copies == 1
    graph_module.recompile()
    first, second, _ = graph_module(torch.full((2,), -3.0))
    assert first is second["again"]
    assert first.tolist() == [-2, -2]


def test_running_again_changes_nothing() -> None:
    graph_module = _returning_all(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)))
    assert ProtectOutputs()(graph_module) == (graph_module, True)
    code = graph_module.graph.python_code("self").src
    assert ProtectOutputs()(graph_module) == (graph_module, False)
    assert graph_module.graph.python_code("self").src == code


def test_a_node_that_is_not_kept_endangers_nothing() -> None:
    graph_module = _returning_all(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)))
    effects = analyze_effects(graph_module)
    x, linear, relu, _ = graph_module.graph.nodes
    assert overwritten_outputs(graph_module.graph, effects) == (linear,)
    assert overwritten_outputs(graph_module.graph, effects, kept={x, linear}) == ()
    assert protect_outputs(graph_module, effects, kept={x, linear}) == 0
    assert relu in graph_module.graph.nodes


def _counting() -> fx.GraphModule:
    """Returns a buffer to which it adds one."""
    model = nn.Module()
    model.register_buffer("count", torch.zeros(2))
    graph = fx.Graph()
    graph.create_node("call_method", "add_", (graph.get_attr("count"), 1))
    graph.output(graph.get_attr("count"))
    return fx.GraphModule(model, graph)


def test_a_write_that_is_not_kept_endangers_nothing_in_a_later_call() -> None:
    graph_module = _counting()
    _, add, read, _ = graph_module.graph.nodes
    effects = analyze_effects(graph_module)
    assert overwritten_outputs(graph_module.graph, effects, kept={read, add}) == (read,)
    assert overwritten_outputs(graph_module.graph, effects, kept={read}) == ()


def test_a_buffer_that_a_later_call_writes_is_copied() -> None:
    graph_module = _counting()
    assert ProtectOutputs()(graph_module).copies == 1
    graph_module.recompile()
    first = graph_module()
    graph_module()
    assert first.tolist() == [1, 1]


class TestContainers:
    def test_tuples_of_tensors(self) -> None:
        def model(x: Tensor) -> tuple[Tensor, ...]:
            parts = (x + 1).chunk(2)
            parts[0].relu_()
            return parts

        graph_module = _returning_all(model)
        assert _check(graph_module, -torch.ones(2, 2) * 3) == 3
        assert isinstance(graph_module(torch.ones(2, 2))["chunk"], tuple)

    def test_of_any_type(self) -> None:
        class Pair(NamedTuple):
            one: Tensor
            number: int

        one = torch.ones(2)
        value = OrderedDict(a=[one, {"b": (one, 3, "text", None)}], c=Pair(one, 2), d=torch.Size([2]))
        copied = clone_value(value)
        assert_bit_equal(copied, value)
        assert type(copied) is OrderedDict
        assert type(copied["c"]) is Pair
        one.zero_()
        assert copied["a"][0].tolist() == copied["a"][1]["b"][0].tolist() == copied["c"].one.tolist() == [1, 1]

    def test_an_object_that_cannot_be_copied_is_an_error_that_names_its_type(self) -> None:
        class Holder:
            pass

        with pytest.raises(UnselectableValueError, match="type Holder"):
            clone_value(Holder())

    def test_a_trace_of_the_code_keeps_the_copy_as_one_node(self) -> None:
        def model(x: Tensor) -> tuple[Tensor, ...]:
            parts = (x + 1).chunk(2)
            parts[0].relu_()
            return parts

        graph_module = fx.symbolic_trace(model)
        assert ProtectOutputs()(graph_module).copies == 1
        graph_module.recompile()
        restored = pickle.loads(pickle.dumps(graph_module))
        assert clone_each in {node.target for node in restored.graph.nodes}
        assert_bit_equal(restored(torch.ones(2)), graph_module(torch.ones(2)))

    def test_torch_remembers_nothing_of_code_that_copies(self) -> None:
        graph_module = fx.symbolic_trace(lambda x: x.chunk(2))
        insert_copy(next(iter(graph_module.graph.find_nodes(op="call_method"))), "tensors")
        known = len(_symbolic_trace._wrapped_fns_to_patch)
        for _ in range(3):
            graph_module.recompile()
        assert len(_symbolic_trace._wrapped_fns_to_patch) == known


class TestTheCopy:
    def _protected(self, function: Callable[..., Any] | nn.Module) -> fx.GraphModule:
        graph_module = _returning_all(function)
        assert ProtectOutputs()(graph_module).copies
        graph_module.recompile()
        return graph_module

    def test_lets_gradients_through(self) -> None:
        weight = torch.randn(2, 2, requires_grad=True)

        def model(x: Tensor, w: Tensor) -> Tensor:
            return functional.relu(functional.linear(x, w), inplace=True) * 2

        graph_module = self._protected(model)
        x = torch.randn(3, 2)
        found = graph_module(x, weight)
        (gradient,) = torch.autograd.grad(found["linear"].exp().sum() + found["mul"].sum(), weight)
        linear = functional.linear(x, weight)
        (expected,) = torch.autograd.grad(linear.exp().sum() + (torch.relu(linear) * 2).sum(), weight)
        assert torch.equal(gradient, expected)

    @pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
    def test_keeps_strides(self, layout: torch.memory_format) -> None:
        graph_module = self._protected(lambda x: (x * 2).relu_())
        x = torch.randn(2, 3, 4, 5).to(memory_format=layout)
        assert graph_module(x)["mul"].stride() == x.stride()

    def test_has_the_meta_of_what_it_copies(self) -> None:
        graph_module = _returning_all(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)))
        linear = graph_module.graph.find_nodes(op="call_module")[0]
        set_name(linear, "0", "exact")
        linear.meta["stack_trace"] = "here"
        ProtectOutputs()(graph_module)
        clone = linear.next
        assert clone.meta["stack_trace"] == "here"
        assert clone.meta["nn_module_stack"] == linear.meta["nn_module_stack"]
        set_name(clone, "other", "exact")
        assert qualified_name(linear) == "0"

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning", "ignore:The TorchScript type:UserWarning")
    def test_can_be_scripted(self) -> None:
        # Without annotations: TorchScript takes those of a traced function, and here they are strings.
        def tensors(x):
            y = x + 1
            return y, y.relu_()

        def lists(x):
            parts = (x + 1).chunk(2)
            parts[0].relu_()
            return parts

        def anything(x):
            y = x + 1
            return y, torch.relu_(y)

        for function in (tensors, lists, anything):
            graph_module = fx.symbolic_trace(function)
            assert ProtectOutputs()(graph_module).copies == 1
            graph_module.recompile()
            x = torch.full((2, 2), -3.0)
            # A tuple of a length that is not known has no type in TorchScript: there it is a list.
            assert [each.tolist() for each in torch.jit.script(graph_module)(x)] == [
                each.tolist() for each in graph_module(x)
            ]

    def test_can_be_exported(self) -> None:
        graph_module = self._protected(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)))
        x = torch.randn(3, 2)
        assert_bit_equal(torch.export.export(graph_module, (x,)).module()(x), graph_module(x))


def _all_values(name: str) -> tuple[fx.GraphModule, dict[str, Tensor], Tensor]:
    model = models.get_model(name, weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    graph_module = fx.GraphModule(model, NodePathTracer().trace(model))
    graph = graph_module.graph
    x = torch.randn(1, 3, 64 if name == "alexnet" else 32, 64 if name == "alexnet" else 32)
    oracle = ValuesAtBirth(graph_module)
    with torch.no_grad():
        oracle.run(x)
    returned = {node.name: node for node in graph.nodes if node.op != "output"}
    graph.output_node().args = (returned,)
    return graph_module, {name: oracle.values[name] for name in returned}, x


@pytest.mark.parametrize(
    ("name", "copies"),
    [("resnet18", 17), ("alexnet", 7), pytest.param("densenet121", 121, marks=pytest.mark.sweep)],
)
def test_each_copy_is_needed(name: str, copies: int) -> None:
    graph_module, expected, x = _all_values(name)
    assert ProtectOutputs()(graph_module).copies == copies
    assert _wrong(graph_module, expected, x) == []
    output = graph_module.graph.output_node()
    protected = output.args
    for clone in [node for node in graph_module.graph.nodes if node.target == "clone"]:
        without = {clone: clone.args[0]}
        output.args = fx.map_arg(protected, lambda node, without=without: without.get(node, node))
        assert _wrong(graph_module, expected, x), f"{clone} is not needed"


def _wrong(graph_module: fx.GraphModule, expected: dict[str, Tensor], x: Tensor) -> list[str]:
    graph_module.recompile()
    with torch.no_grad():
        actual = graph_module(x.clone())
    return [name for name, value in expected.items() if not torch.equal(actual[name], value)]
