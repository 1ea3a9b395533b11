"""What the nodes of a module call tell about the call."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.calls import NodeRef, Opaque
from fxpasses.graph.edit import insert_after
from fxpasses.graph.regions import escaping, module_calls, regions


class Scaled(nn.Module):
    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_a_parameter_that_a_later_module_shares_does_not_leave_the_first() -> None:
    weight = nn.Parameter(torch.ones(2))
    graph_module = fx.symbolic_trace(nn.Sequential(Scaled(weight), Scaled(weight)))
    region = regions(graph_module.graph)["0"]
    assert [node.op for node in region] == ["get_attr", "call_function"]
    assert escaping(region) == region[1:]
    assert [call.output for call in module_calls(graph_module)] == [NodeRef("mul"), NodeRef("mul_1")]


class HasRelu(nn.Module):
    """Calls a method by the name that the module itself has."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = MakesRelu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x)


class MakesRelu(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


@pytest.mark.parametrize(
    ("model", "paths"),
    [(nn.Sequential(nn.ReLU()), []), (nn.Sequential(nn.Sequential(nn.ReLU())), ["0"]), (HasRelu(), ["relu"])],
    ids=["a leaf", "around a leaf", "a method"],
)
def test_all_calls_but_those_of_leaves_are_found(model: nn.Module, paths: list[str]) -> None:
    assert [call.path for call in module_calls(fx.symbolic_trace(model))] == paths


def test_what_is_inserted_behind_a_leaf_with_its_meta_belongs_to_the_call() -> None:
    graph_module = fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Tanh()))
    _, relu, tanh, _ = graph_module.graph.nodes
    tanh.args = (insert_after(relu, "call_method", "clone", (relu,)),)
    (call,) = module_calls(graph_module)
    assert (call.path, call.output) == ("0", NodeRef("_0_clone"))


class Halves(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x + 2


class Unused(nn.Module):
    """Calls a module of which it uses nothing."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inner(x)
        return x * 2


def test_what_a_call_returned_is_unknown_if_several_values_leave_it() -> None:
    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.halves = Halves()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = self.halves(x)
            return first * second

    (call,) = module_calls(fx.symbolic_trace(Uses()))
    assert isinstance(call.output, Opaque)
    assert "2 values leave it" in call.output.description


def test_a_call_whose_result_nobody_uses_returned_its_last_value() -> None:
    (call,) = module_calls(fx.symbolic_trace(Unused(Halves())))
    assert call.output == NodeRef("add_1")


def test_further_calls_of_a_module_are_numbered() -> None:
    block = nn.Sequential(nn.ReLU())
    calls = module_calls(fx.symbolic_trace(nn.Sequential(block, block)))
    assert [(call.path, call.index, call.key) for call in calls] == [("0", 0, "0"), ("0", 1, "0@1")]


def test_a_stack_that_spells_calls_and_types_in_another_way_is_read_as_far_as_it_goes() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    add = list(graph_module.graph.nodes)[1]
    add.meta["nn_module_stack"] = {"L__self___block": ("block", "torch.nn.modules.container.Sequential")}
    (call,) = module_calls(graph_module)
    assert (call.path, call.index, call.module_type) == ("block", 0, nn.Module)
