from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchvision.models import densenet121, resnet18, swin_t

from fxpasses.capture import capture_symbolic
from fxpasses.errors import VerificationError
from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.verify import describe, problems, verify


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x) * self.scale).sum(dim=1, keepdim=True) + y


class Nodes(dict[str, fx.Node]):
    """The nodes of `Block`'s graph by their names."""

    @property
    def graph(self) -> fx.Graph:
        return self["output"].graph


Malform = Callable[[Nodes], object]
MALFORMED: dict[str, tuple[str, Malform]] = {}


def malformed(kind: str) -> Callable[[Malform], Malform]:
    def register(function: Malform) -> Malform:
        MALFORMED[function.__name__] = (kind, function)
        return function

    return register


@malformed("users")
def users_emptied(nodes: Nodes) -> None:
    nodes["relu"].users.clear()


@malformed("users")
def users_with_a_stranger(nodes: Nodes) -> None:
    nodes["relu"].users[nodes["add"]] = None


@malformed("users")
def users_with_one_for_another(nodes: Nodes) -> None:
    nodes["relu"].users.clear()
    nodes["relu"].users[nodes["add"]] = None


@malformed("output")
def node_after_output(nodes: Nodes) -> None:
    with nodes.graph.inserting_after(nodes["output"]):
        nodes.graph.call_function(torch.relu, (nodes["x"],))


@malformed("output")
def two_outputs(nodes: Nodes) -> None:
    nodes.graph.output(nodes["relu"])


@malformed("output")
def no_output(nodes: Nodes) -> None:
    nodes.graph.erase_node(nodes["output"])


@malformed("output")
def output_of_nothing(nodes: Nodes) -> None:
    nodes["output"].args = ()


@malformed("placeholder")
def placeholder_after_compute(nodes: Nodes) -> None:
    with nodes.graph.inserting_before(nodes["output"]):
        nodes.graph.placeholder("late")


@malformed("placeholder")
def compute_between_placeholders(nodes: Nodes) -> None:
    with nodes.graph.inserting_after(nodes["x"]):
        nodes.graph.call_function(torch.relu, (nodes["x"],))


@malformed("argument")
def unknown_kwarg_of_a_builtin(nodes: Nodes) -> None:
    nodes["relu"].kwargs = {"slope": 0.1}


@malformed("argument")
def unknown_kwarg_of_a_function(nodes: Nodes) -> None:
    nodes["relu"].target = nn.functional.relu
    nodes["relu"].kwargs = {"slope": 0.1}


@malformed("argument")
def unknown_kwarg_of_a_module(nodes: Nodes) -> None:
    nodes["linear"].kwargs = {"slope": 0.1}


@malformed("argument")
def unknown_kwarg_of_a_method(nodes: Nodes) -> None:
    nodes["sum_1"].kwargs = {"dimension": 1}


@malformed("argument")
def unknown_kwarg_of_an_operator(nodes: Nodes) -> None:
    nodes["relu"].target = torch.ops.aten.relu.default
    nodes["relu"].kwargs = {"out": None}


@malformed("target")
def unknown_method(nodes: Nodes) -> None:
    nodes["sum_1"].target = "no_such_method"


@malformed("target")
def unknown_method_of_an_input(nodes: Nodes) -> None:
    with nodes.graph.inserting_before(nodes["output"]):
        nodes.graph.call_method("no_such_method", (nodes["x"],))


@malformed("placeholder")
def duplicate_placeholder(nodes: Nodes) -> None:
    with nodes.graph.inserting_after(nodes["x"]):
        nodes.graph.placeholder("x")


@malformed("hidden")
def node_in_a_set(nodes: Nodes) -> None:
    nodes["add"].args = (nodes["sum_1"], {nodes["x"]})


@malformed("hidden")
def node_in_a_dataclass(nodes: Nodes) -> None:
    @dataclass
    class Holder:
        value: fx.Node

    nodes["add"].args = (nodes["sum_1"], Holder(nodes["x"]))  # pyright: ignore[reportAttributeAccessIssue] - the mistake


@malformed("argument")
def missing_argument_of_a_builtin(nodes: Nodes) -> None:
    nodes["relu"].args = ()


@malformed("argument")
def missing_argument_of_a_module(nodes: Nodes) -> None:
    nodes["linear"].args = ()


@malformed("argument")
def missing_argument_of_an_operator(nodes: Nodes) -> None:
    nodes["add"].args = (nodes["sum_1"],)


@malformed("argument")
def method_of_nothing(nodes: Nodes) -> None:
    nodes["sum_1"].args = ()


@malformed("argument")
def too_many_arguments(nodes: Nodes) -> None:
    nodes["linear"].args = (nodes["x"], nodes["y"])


@malformed("stale")
def stale_value(nodes: Nodes) -> None:
    nodes["x"].meta["val"] = torch.empty(2, 3)
    nodes["relu"].meta["val"] = torch.empty(2, 3)
    nodes["sum_1"].meta["val"] = torch.empty(2, 3)


@malformed("stale")
def stale_type(nodes: Nodes) -> None:
    ShapeProp(nodes.graph.owning_module).propagate(torch.ones(2, 3), torch.ones(2, 1))
    nodes["relu"].target = torch.isnan


@malformed("stale")
def stale_value_of_a_module(nodes: Nodes) -> None:
    ShapeProp(nodes.graph.owning_module).propagate(torch.ones(2, 3), torch.ones(2, 1))
    nodes.graph.owning_module.linear = nn.Linear(3, 5)


@malformed("meta")
def meta_of_a_foreign_node(nodes: Nodes) -> None:
    nodes["relu"].meta["quantization"] = {"shared_with": [fx.Graph().placeholder("x")]}


@malformed("meta")
def meta_of_an_erased_node(nodes: Nodes) -> None:
    with nodes.graph.inserting_before(nodes["output"]):
        gone = nodes.graph.call_function(torch.relu, (nodes["x"],))
    nodes.graph.erase_node(gone)
    nodes["relu"].meta["partner"] = gone


@malformed("name")
def keyword_as_a_name(nodes: Nodes) -> None:
    nodes["relu"].name = "class"


@malformed("name")
def one_name_for_two(nodes: Nodes) -> None:
    nodes["relu"].name = "linear"


@malformed("target")
def attribute_that_is_not_there(nodes: Nodes) -> None:
    nodes["scale"].target = "linear.scale"


@malformed("target")
def module_that_is_not_there(nodes: Nodes) -> None:
    nodes["linear"].target = "linear.inner"


@malformed("target")
def module_that_is_a_parameter(nodes: Nodes) -> None:
    nodes["linear"].target = "scale"


@malformed("order")
def use_before_definition(nodes: Nodes) -> None:
    nodes["relu"].append(nodes["linear"])


@malformed("foreign")
def argument_of_another_graph(nodes: Nodes) -> None:
    nodes["relu"].args = (fx.Graph().placeholder("x"),)


@malformed("erased")
def argument_that_was_erased(nodes: Nodes) -> None:
    with nodes.graph.inserting_before(nodes["output"]):
        gone = nodes.graph.call_function(torch.neg, (nodes["x"],))
    nodes.graph.erase_node(gone)
    nodes["relu"].args = (gone,)


@malformed("uses")
def arguments_set_past_the_graph(nodes: Nodes) -> None:
    nodes["relu"]._args = (nodes["x"],)


@malformed("table")
def opcode_set_past_the_graph(nodes: Nodes) -> None:
    object.__setattr__(nodes["relu"], "op", "call_method")
    object.__setattr__(nodes["relu"], "target", "relu")


@malformed("op")
def unknown_opcode(nodes: Nodes) -> None:
    nodes["relu"].op = "call"


@malformed("target")
def function_that_cannot_be_called(nodes: Nodes) -> None:
    nodes["relu"].target = "relu"


@malformed("target")
def argument_that_is_no_name(nodes: Nodes) -> None:
    nodes["x"].target = 3  # pyright: ignore[reportAttributeAccessIssue] - the mistake


@malformed("target")
def argument_that_is_a_list(nodes: Nodes) -> None:
    nodes["x"].target = ["x"]  # pyright: ignore[reportAttributeAccessIssue] - the mistake


@malformed("target")
def module_by_a_list(nodes: Nodes) -> None:
    nodes["linear"].target = ["linear"]  # pyright: ignore[reportAttributeAccessIssue] - the mistake


def block() -> tuple[fx.GraphModule, Nodes]:
    graph_module = fx.symbolic_trace(Block())
    return graph_module, Nodes((node.name, node) for node in graph_module.graph.nodes)


@pytest.mark.parametrize("name", MALFORMED)
def test_finds_what_is_malformed(name: str) -> None:
    kind, malform = MALFORMED[name]
    graph_module, nodes = block()
    malform(nodes)
    assert kind in {problem.kind for problem in problems(graph_module)}
    with pytest.raises(VerificationError, match="The graph is malformed"):
        verify(graph_module)


def test_most_of_it_gets_past_lint() -> None:
    accepted: list[str] = []
    for name, (_kind, malform) in MALFORMED.items():
        _graph_module, nodes = block()
        malform(nodes)
        with contextlib.suppress(Exception):
            nodes.graph.lint()
            accepted.append(name)
    assert len(accepted) > len(MALFORMED) / 2


def test_finds_it_in_graph_modules_inside_too() -> None:
    inner, nodes = block()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x, x)

    class Leaf(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return m is inner and module_qualified_name == "inner"

    outer = Outer()
    graph_module = fx.GraphModule(outer, Leaf().trace(outer))
    verify(graph_module)
    nodes["relu"].users.clear()
    with pytest.raises(VerificationError, match="'relu' is used by 'sum_1', which is missing"):
        verify(graph_module)


def test_prints_the_nodes_around_the_culprit() -> None:
    graph_module, nodes = block()
    nodes["relu"].kwargs = {"slope": 0.1}
    with pytest.raises(VerificationError) as caught:
        verify(graph_module)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The graph is malformed: 'relu' passes 'slope', which relu does not take."
    assert "--> relu = call_function[relu](mul, slope=0.1)" in lines
    assert lines[2:4] == ["    ...", "    linear = call_module[linear](x)"]


@pytest.mark.parametrize(("count", "more"), [(1, []), (5, []), (7, ["And 2 more problems."])])
def test_the_message_tells_the_first_five_problems_and_how_many_more_there_are(count: int, more: list[str]) -> None:
    graph_module, nodes = block()
    nodes["sum_1"].kwargs = {f"option_{index}": index for index in range(count)}
    texts = [problem.text for problem in problems(graph_module)]
    lines = describe(problems(graph_module)).splitlines()
    assert len(texts) == count
    first, *others = texts[:5]
    told = [f"The graph is malformed: {first}", *(f"Also: {text}" for text in others), *more]
    assert lines[: lines.index("")] == told


def test_recorded_values_of_a_malformed_graph_are_not_compared() -> None:
    graph_module, nodes = block()
    ShapeProp(graph_module).propagate(torch.ones(2, 3), torch.ones(2, 1))
    nodes["relu"].target = torch.isnan
    assert [problem.kind for problem in problems(graph_module)] == ["stale"]
    nodes["linear"].users.clear()
    assert [problem.kind for problem in problems(graph_module)] == ["users"]


class Calls(nn.Module):
    """Calls that look odd and are right."""

    def forward(self, x: torch.Tensor, options: Any) -> Any:
        a = torch.sum(x, axis=1, keepdims=True)
        b = torch.zeros(2, 3, requires_grad=True) + torch.rand(3, generator=None)
        c = torch.add(input=x, other=2, alpha=3, out=None)
        d = x.view(-1, 3).permute(1, 0).reshape((3, -1)).to(torch.float64, copy=True)
        e = torch.max(x, dim=1)._asdict()
        f = x.split(1, dim=0)[0].size(0) + options.items().index(3)
        g = torch.einsum("ij,ij->i", x, x), torch.cat(tensors=(x, x), dim=0), x.new_zeros(3, 4)
        h = nn.functional.max_pool1d(x, 2, stride=1), torch.stack([x, x], dim=-1), x.sum((0, 1)), x.std(unbiased=False)
        i = operator.getitem(x, slice(None, f, None)), x.expand(2, -1, -1), f.bit_length(), x.shape.numel()
        return a, b, c, d, e, f, g, h, i, x.mean(dim=(0, 1), dtype=torch.float64), torch.full((2,), 1.0, device="cpu")


def test_accepts_every_way_to_call() -> None:
    verify(fx.symbolic_trace(Calls()))


@pytest.mark.parametrize("model", [resnet18, densenet121, swin_t])
def test_accepts_captured_models(model: Callable[..., nn.Module]) -> None:
    verify(capture_symbolic(model(weights=None)))


def test_accepts_exported_programs() -> None:
    program = torch.export.export(resnet18(weights=None).eval(), (torch.ones(2, 3, 64, 64),))
    for graph_module in (program.graph_module, program.module(), program.run_decompositions().graph_module):
        verify(graph_module)


def test_a_chain_of_thirty_thousand_nodes_is_verified_without_recursion() -> None:
    graph = fx.Graph()
    value = graph.placeholder("x")
    for _ in range(30_000):
        value = graph.call_function(torch.neg, (value,))
    graph.output(value)
    graph_module = LazyGraphModule(nn.Module(), graph)
    verify(graph_module)
    graph.output_node().prev.args = ()
    assert {problem.node for problem in problems(graph_module)} == {graph.output_node().prev}
