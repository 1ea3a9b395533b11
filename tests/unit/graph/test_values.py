from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import pytest
import torch
from support import examples
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import UnselectableValueError
from fxpasses.graph.meta import capture_record, qualified_name, set_capture_record
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes


def _values(model: nn.Module) -> NamedValues:
    return NamedValues(NameNodes()(capture_symbolic(model)).graph_module)


def _name(value: object) -> str | None:
    assert isinstance(value, fx.Node)
    return qualified_name(value)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("x", "x"), ("blocks", "blocks.1.relu_1"), ("blocks.0", "blocks.0.relu_1"), ("blocks.0@0", "blocks.0.relu_1"),
        ("blocks.0.first", "blocks.0.first"), ("head@0", "head"), ("", "head"),
    ],
)  # fmt: skip
def test_a_name_stands_for_a_value(asked: str, found: str) -> None:
    values = _values(examples.Stacked())
    if asked:
        assert asked in values
        assert _name(values.value(asked)) == found


def test_further_calls_by_number() -> None:
    values = _values(examples.CalledTwice())
    assert _name(values.value("block@1")) == "block.relu_3"
    assert _name(values.value("leaf@1")) == "leaf_1"
    assert "block@2" not in values


def test_every_path_of_a_module() -> None:
    values = _values(examples.Aliased())
    assert values.value("second") is values.value("first")
    assert values.value("second.first") is values.value("first.first")


def test_what_is_not_there() -> None:
    values = _values(examples.Stacked())
    for name in ("blocks.2", "block", "blocks.", ".", "blocks.0.first.weight", 3):
        assert name not in values
    with pytest.raises(KeyError):
        values.value("blocks.2")


def test_near_names() -> None:
    values = _values(examples.Stacked())
    assert values.near("blocks.0.frist")[0] == "blocks.0.first"
    assert values.near("block.0.frist")[0] == "blocks.0.first"
    assert values.near("relu_1")[0].endswith("relu_1")
    assert values.near("something else entirely, far away") == []


def test_a_value_that_was_removed_says_so() -> None:
    graph_module = NameNodes()(capture_symbolic(examples.Stacked())).graph_module
    output = graph_module.graph.output_node()
    output.args = (next(iter(graph_module.graph.nodes)),)
    for node in reversed(graph_module.graph.nodes):
        if node.op.startswith("call"):
            graph_module.graph.erase_node(node)
    with pytest.raises(UnselectableValueError, match="no longer in the graph"):
        NamedValues(graph_module).value("blocks")


def test_the_moment_of_a_module_is_its_return() -> None:
    class Writes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(x)
            y.add_(1)
            return y

    values = _values(nn.Sequential(Writes()))
    moment = values.moment("0")
    assert moment is not None
    assert (_name(values.value("0")), _name(moment)) == ("0.relu", "0.add_")
    assert values.moment("0.relu") is None


def test_what_is_no_text_is_no_name() -> None:
    values = _values(examples.Stacked())
    assert None not in values
    assert ["blocks"] not in values


def test_calls_can_be_asked_for_before_nodes_are_named() -> None:
    values = NamedValues(capture_symbolic(examples.Stacked()))
    assert {"blocks", "blocks.0@0"} <= set(values.names())
    assert "blocks.0" in values.near("blocks.00")


def test_names_beside_the_one_that_was_asked_for_come_before_better_matches_elsewhere() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Sequential(OrderedDict(sec=nn.ReLU()))
            self.b = nn.Sequential(OrderedDict(second=nn.ReLU()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    assert _values(Named()).near("a.second")[:2] == ["a.sec", "b.second"]


def test_a_call_of_which_nobody_knows_when_it_returned_has_no_moment() -> None:
    graph_module = NameNodes()(capture_symbolic(examples.Stacked())).graph_module
    record = capture_record(graph_module)
    assert record is not None
    calls = tuple(dataclasses.replace(call, until=None) for call in record.calls)
    set_capture_record(graph_module, dataclasses.replace(record, calls=calls))
    assert NamedValues(graph_module).moment("blocks.0") is None


@pytest.mark.parametrize(
    ("op", "target"), [("call_method", "relu"), ("call_function", torch.relu), ("call_module", "other")]
)
def test_a_leaf_that_is_no_longer_called_has_no_calls(op: str, target: Any) -> None:
    class Leaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(x)

    graph_module = NameNodes()(capture_symbolic(Leaf())).graph_module
    assert "relu@0" in NamedValues(graph_module)
    _, relu, _ = graph_module.graph.nodes
    graph_module.add_module("other", nn.ReLU())
    relu.op, relu.target = op, target
    assert "relu@0" not in NamedValues(graph_module)


def test_what_a_node_calls_is_no_name() -> None:
    values = _values(nn.Sequential(Averaged()))
    assert "0.mean" in values
    assert "mean" not in values


class Averaged(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(0)


def test_of_several_reads_of_a_buffer_the_first_has_its_name() -> None:
    graph = fx.Graph()
    first, second = (graph.get_attr("mean") for _ in range(2))
    graph.output((first, second))
    root = nn.Module()
    root.register_buffer("mean", torch.ones(1))
    assert NamedValues(fx.GraphModule(root, graph)).value("mean") is first


class Contained(nn.Module):
    """Has containers that are never called themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"a": nn.ReLU(), "b": nn.ModuleList([nn.Sequential(nn.Tanh())])})
        self.nested = nn.ModuleList([nn.ModuleList([nn.ReLU(), nn.Tanh()])])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.parts["b"][0](self.parts["a"](x))
        return self.nested[0][1](self.nested[0][0](y))


@pytest.mark.parametrize(
    ("container", "found"), [("parts", "parts.a"), ("parts.b", "parts.b.0.0"), ("nested", "nested.0.1")]
)
def test_a_container_stands_for_the_last_of_the_shallowest_results_inside(container: str, found: str) -> None:
    assert _name(_values(Contained()).value(container)) == found


class Box:
    def __init__(self, content: torch.Tensor) -> None:
        self.content = content


class Boxes(nn.Module):
    def __init__(self, *inside: str) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> Box:
        for name in self.inside:
            x = getattr(torch, name)(x)
        return Box(x)


class Opens(nn.Module):
    def __init__(self, *inside: str) -> None:
        super().__init__()
        self.boxes = Boxes(*inside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.boxes(x).content + 1


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ((), r"instead\.$"),
        (("relu",), r"instead, such as 'boxes.relu'\.$"),
        (("relu", "tanh"), r"instead, such as 'boxes.relu', 'boxes.tanh'\.$"),
    ],
)
def test_what_no_graph_can_return_is_told_with_the_values_inside_it(inside: tuple[str, ...], told: str) -> None:
    with pytest.raises(UnselectableValueError, match=told):
        _values(Opens(*inside)).value("boxes")
