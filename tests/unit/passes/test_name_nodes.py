from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support import examples
from torch import fx, nn
from torchvision.models import feature_extraction as torchvision_extraction

from fxpasses.capture import capture_symbolic
from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.meta import capture_record, name_and_style, qualified_name, set_capture_record, set_name
from fxpasses.passes.name_nodes import NameNodes, buffer_expressions, names_of


def _names(model: nn.Module, style: str = "exact") -> list[str | None]:
    graph = NameNodes(style)(capture_symbolic(model)).graph_module.graph  # pyright: ignore[reportArgumentType]
    return [qualified_name(node) for node in graph.nodes if node.op != "output"]


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln, self.ln_1, self.add = nn.LayerNorm(3), nn.LayerNorm(3), nn.Linear(3, 3)
        self.w_1 = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor, relu: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.add(self.ln(self.ln_1(self.ln(x + relu) * self.w_1))))


def test_a_users_name_is_never_given_to_something_else() -> None:
    assert _names(Layered()) == ["x", "relu", "add_1", "ln", "w_1", "mul", "ln_1", "ln_2", "add", "relu_1"]


@pytest.mark.parametrize(("path", "further"), [("ln", "ln_1"), ("blocks", "blocks_1")])
def test_a_name_that_somebody_gave_is_kept_though_it_is_a_modules(path: str, further: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln, self.blocks = nn.LayerNorm(3), nn.Sequential(nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(self.ln(torch.tanh(x)))

    captured = capture_symbolic(Model())
    (tanh,) = captured.graph.find_nodes(op="call_function", target=torch.tanh)
    set_name(tanh, path, "exact")
    NameNodes()(captured)
    record = capture_record(captured)
    assert record is not None
    found = [qualified_name(node) for node in captured.graph.nodes] + [call.name for call in record.calls]
    expected = ["x", path, "ln", "blocks.0", None, "blocks"]
    expected[2 if path == "ln" else 5] = further
    assert found == expected


def test_torchvisions_names_are_not_kept_as_somebodys_own() -> None:
    captured = NameNodes("torchvision")(capture_symbolic(Layered())).graph_module
    assert NameNodes()(captured).modified
    assert [qualified_name(node) for node in captured.graph.nodes if node.op != "output"] == _names(Layered())


def test_an_argument_under_another_name_leaves_its_own_to_others() -> None:
    captured = capture_symbolic(Layered())
    (argument,) = captured.graph.find_nodes(op="placeholder", target="relu")
    set_name(argument, "offset", "exact")
    names = [qualified_name(node) for node in NameNodes()(captured).graph_module.graph.nodes]
    assert names[1] == "offset"
    assert names[-2] == "relu"


def test_a_graph_made_by_hand_gives_a_module_its_path() -> None:
    graph = fx.Graph()
    made = graph.call_module("relu", (graph.call_function(torch.relu, (graph.placeholder("x"),)),))
    graph.output(made)
    graph_module = fx.GraphModule({"relu": nn.ReLU()}, graph)
    assert list(names_of(graph_module, "exact").values()) == ["x", "relu_1", "relu"]


def test_the_output_is_no_value_and_has_no_name() -> None:
    captured = NameNodes()(capture_symbolic(Layered())).graph_module
    assert qualified_name(captured.graph.output_node()) is None
    assert captured.graph.output_node() not in names_of(captured, "exact")


def test_torchvisions_style_cuts_numbers_off() -> None:
    assert _names(Layered(), "torchvision") == ["x", "relu", "add", "ln", "w", "mul", "ln_1", "ln_2", "add_1", "relu_1"]


class Capitals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.A, self.logScale = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.A + self.logScale


@pytest.mark.parametrize("style", ["exact", "torchvision"])
def test_torchvisions_style_writes_parameters_in_lower_case(style: str) -> None:
    model = nn.Sequential(Capitals())
    theirs = torchvision_extraction.get_graph_node_names(model)[1]
    given = ["input", "0._0_A", "0.mul", "0._0_logScale", "0.add"]
    assert _names(model, style) == (theirs if style == "torchvision" else given)
    assert theirs == ["input", "0._0_a", "0.mul", "0._0_log_scale", "0.add"]


class Nested(nn.Module):
    """Has capitals in the names of an argument, of modules and of a parameter inside of one."""

    def __init__(self) -> None:
        super().__init__()
        self.Block, self.Norm = Capitals(), nn.LayerNorm(3)

    def forward(self, X: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the point of it
        return self.Norm(self.Block(X))


def test_torchvisions_style_writes_arguments_in_lower_case_and_modules_as_they_are() -> None:
    theirs = torchvision_extraction.get_graph_node_names(Nested())[1]
    assert _names(Nested(), "torchvision") == theirs
    assert _names(Nested())[0] == "X"


def test_naming_again_changes_nothing() -> None:
    captured = capture_symbolic(Layered())
    assert NameNodes()(captured).modified
    assert not NameNodes()(captured).modified


def test_new_nodes_get_free_names_and_the_others_keep_theirs() -> None:
    captured = NameNodes()(capture_symbolic(Layered())).graph_module
    before = {node: qualified_name(node) for node in captured.graph.nodes}
    first = next(node for node in captured.graph.nodes if node.op == "call_function")
    with captured.graph.inserting_after(first):
        added = captured.graph.call_function(torch.relu, (first,))
    assert NameNodes()(captured).modified
    assert qualified_name(added) == "relu_2"
    assert {node: qualified_name(node) for node in before} == before


def test_another_style_renames_everything() -> None:
    captured = NameNodes()(capture_symbolic(Layered())).graph_module
    assert NameNodes("torchvision")(captured).modified
    assert {name_and_style(node)[1] for node in captured.graph.nodes if node.op != "output"} == {"torchvision"}


def test_calls_are_named_too() -> None:
    captured = NameNodes()(capture_symbolic(examples.CalledTwice())).graph_module
    record = capture_record(captured)
    assert record is not None
    assert [call.name for call in record.calls] == ["block", "block_1"]


class Scales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.scale + 1) * (x + 1)


def test_operations_on_buffers_alone_take_no_name_from_others() -> None:
    captured = NameNodes()(capture_symbolic(Scales())).graph_module
    folded = [qualified_name(node) for node in captured.graph.nodes if node in buffer_expressions(captured)]
    assert folded == ["scale", "add_1"]
    assert "add" in _names(Scales())


def test_names_come_in_the_order_of_the_graph_though_not_given_in_it() -> None:
    captured = capture_symbolic(Scales())
    assert list(names_of(captured, "exact").values()) == ["x", "scale", "add_1", "add", "mul"]
    assert list(names_of(captured, "exact")) == list(captured.graph.nodes)[:-1]


def test_a_method_of_a_buffer_is_an_operation_on_buffers_alone_too() -> None:
    graph = fx.Graph()
    scale = graph.get_attr("scale")
    made = graph.call_function(torch.add, (graph.call_method("exp", (scale,)), scale))
    graph.output(graph.call_module("layer", (made,)))
    graph_module = fx.GraphModule({"scale": torch.ones(3), "layer": nn.ReLU()}, graph)
    assert {node.name for node in buffer_expressions(graph_module)} == {"scale", "exp", "add"}


def test_what_is_made_of_nothing_is_not_made_of_buffers() -> None:
    graph = fx.Graph()
    scale = graph.get_attr("scale")
    zeros = graph.call_function(torch.zeros, (3,))
    graph.output((scale, zeros))
    assert buffer_expressions(fx.GraphModule(Scales(), graph)) == {scale}


class Returns(nn.Module):
    """Returns what it is given: no node is made."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_the_name_of_a_module_without_operations_is_taken() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add = Returns()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.add(x) + 1

    assert _names(Model()) == ["x", "add_1"]


class Adds(nn.Module):
    """Has a module and a parameter that are called like operations."""

    def __init__(self) -> None:
        super().__init__()
        self.add, self.mul = nn.Sequential(nn.Sequential(nn.ReLU())), nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.add(x * 2) + 1) * self.mul


@pytest.mark.parametrize("trace", [fx.symbolic_trace, capture_symbolic])
def test_operations_leave_their_names_to_modules_and_parameters(trace: Callable[[nn.Module], fx.GraphModule]) -> None:
    captured = trace(Adds())
    assert NameNodes()(captured).modified
    names = [qualified_name(node) for node in captured.graph.nodes if node.op != "output"]
    assert names == ["x", "mul_1", "add.0.0", "add_1", "mul", "mul_2"]
    assert not NameNodes()(captured).modified


def test_a_further_call_gets_a_name_that_no_other_call_has() -> None:
    captured = NameNodes()(capture_symbolic(examples.CalledTwice())).graph_module
    record = capture_record(captured)
    assert record is not None
    first, second = record.calls
    for given, expected in (
        ((replace(first, name="block_1"), replace(second, name=None)), ["block_1", "block_2"]),
        ((first, replace(second, name=None)), ["block", "block_1"]),
    ):
        set_capture_record(captured, replace(record, calls=given))
        assert NameNodes()(captured).modified
        found = capture_record(captured)
        assert found is not None
        assert [call.name for call in found.calls] == expected


def test_a_graph_of_another_tracer_gets_the_same_names() -> None:
    traced = NameNodes()(fx.symbolic_trace(examples.Stacked())).graph_module
    assert [qualified_name(node) for node in traced.graph.nodes if node.op != "output"] == _names(examples.Stacked())


def test_an_exported_graph_gets_names_by_module() -> None:
    exported = torch.export.export(examples.Stacked().eval(), (torch.ones(2, 3),)).module()
    names = {qualified_name(node) for node in NameNodes()(exported).graph_module.graph.nodes}
    assert {"blocks.0.relu", "blocks.0.add", "blocks.1.relu_1"} <= names


def test_an_unknown_style() -> None:
    with pytest.raises(ArgumentTypeError, match="'exact' and 'torchvision'"):
        NameNodes("timm")  # pyright: ignore[reportArgumentType]
