"""What the node of a collapsed call knows about the calls around it."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import CollapseError
from fxpasses.graph.calls import NodeRef
from fxpasses.graph.meta import Scope, capture_record, qualified_name, scopes
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes


def test_a_collapsed_call_is_inside_of_the_calls_that_it_was_made_in() -> None:
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.ReLU()))
    graph_module = CollapseLeaves(["0.0"])(capture_symbolic(model)).graph_module
    (node,) = [node for node in graph_module.graph.nodes if node.target == "0.0"]
    assert scopes(node) == (Scope("0", "0"), Scope("0.0", "0.0"))


class Reshapes(nn.Module):
    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        return x.reshape(size[1], size[0])


class ReadsItsArgumentLate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Reshapes()

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        return self.inner(torch.relu(x), size) * 2


class PassesItsShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = ReadsItsArgumentLate()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, x.shape) + 1


STEPS = [[["0", "1"]], [["0"], ["1"]], [["1"], ["0"]]]


def _collapsed(model: nn.Module, steps: list[list[str]]) -> fx.GraphModule:
    graph_module = capture_symbolic(model)
    for leaves in steps:
        CollapseLeaves(leaves)(graph_module)
    graph_module.graph.lint()
    return graph_module


def _described(graph: fx.Graph) -> list[tuple[str, str, list[str]]]:
    return [(node.name, node.op, [scope.key for scope in scopes(node)]) for node in graph.nodes]


def test_an_argument_that_was_recorded_inside_comes_before_the_call_as_in_a_trace_with_the_leaf() -> None:
    model = PassesItsShape()
    collapsed = CollapseLeaves(["block"])(capture_symbolic(model)).graph_module
    traced = capture_symbolic(model, tracer_options={"leaf_modules": [ReadsItsArgumentLate]})
    collapsed.graph.lint()
    assert _described(collapsed.graph) == _described(traced.graph)


class ReturnsNumber(nn.Module):
    def forward(self) -> int:
        return 3


class AsksForNumberFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.number = ReturnsNumber()
        self.scale = nn.Parameter(torch.ones(2))
        self.block = nn.Sequential(nn.ReLU())

    def forward(self) -> Tensor:
        number = self.number()
        return self.block(self.scale * number)


@pytest.mark.parametrize("steps", [[["number", "block"]], [["number"], ["block"]], [["block"], ["number"]]], ids=str)
def test_a_call_before_the_first_node_of_all_becomes_the_first_node(steps: list[list[str]]) -> None:
    collapsed = _collapsed(AsksForNumberFirst(), steps)
    assert [node.name for node in collapsed.graph.nodes] == ["number", "scale", "mul", "block", "output"]


class ComputesMoreThanItReturns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x)
        y.abs()
        return y


class PassesOn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_call_without_nodes_comes_after_the_call_before_it_also_where_that_ended_with_an_unused_value() -> None:
    model = nn.Sequential(ComputesMoreThanItReturns(), PassesOn(), nn.Tanh())
    for steps in STEPS:
        collapsed = _collapsed(model, steps)
        assert [str(node.target) for node in collapsed.graph.nodes] == ["input", "0", "1", "2", "output"]


class ReturnsItsParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((2,), 3.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.relu(x), self.scale


class ReturnsTwo(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.relu(x), torch.neg(x)


class Scales(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        y, scale = self[0](x)
        return torch.tanh(self[1](y)) * scale


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("first", [ReturnsTwo, ReturnsItsParameter])
def test_a_call_without_nodes_comes_after_all_that_the_call_before_it_returned(
    first: type[nn.Module], steps: list[list[str]]
) -> None:
    model = Scales(first(), PassesOn())
    collapsed = _collapsed(model, steps)
    names = ["x", "_0", "getitem", "getitem_1", "_1", "tanh", "mul", "output"]
    assert [node.name for node in collapsed.graph.nodes] == names
    x = torch.randn(2)
    assert torch.equal(collapsed(x), model(x))


class Powers(nn.Module):
    def forward(self, x: Tensor, power: int) -> Tensor:
        return x**power


class PassesNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.powers, self.block = Powers(), nn.Sequential(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.powers(x, 2))


def test_a_call_beside_one_that_was_given_a_number_is_collapsed() -> None:
    collapsed = CollapseLeaves(["block"])(capture_symbolic(PassesNumber())).graph_module
    assert [node.name for node in collapsed.graph.nodes] == ["x", "pow_1", "block", "output"]


def test_a_model_without_the_module_is_not_the_one_that_was_traced() -> None:
    graph_module = fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.ReLU())))
    with pytest.raises(CollapseError, match="does not hold the original module"):
        CollapseLeaves(["0"], root=nn.Sequential())(graph_module)


def test_what_a_call_returned_is_what_its_last_inner_call_returned_also_after_that_was_collapsed() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), PassesOn()), nn.Tanh())
    inner = _collapsed(model, [["0.1"]])
    record = capture_record(inner)
    assert record is not None
    (call,) = [call for call in record.calls if call.path == "0"]
    assert call.output == call.until == NodeRef("_0_1")
    outer = _collapsed(model, [["0.1"], ["0"]])
    assert [str(node.target) for node in outer.graph.nodes] == ["input", "0", "1", "output"]


class ReturnsNamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"used": torch.relu(x), "unused": torch.tanh(x), "parameter": self.scale}


class IgnoresTheRest(nn.Module):
    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        return torch.neg(x)


class PassesEntries(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        self.named, self.ignores = ReturnsNamed(), IgnoresTheRest()

    def forward(self, x: Tensor) -> Tensor:
        named = self.named(x)
        return self.ignores(*(named[name] for name in self.names))


@pytest.mark.parametrize("unused", ["unused", "parameter"])
@pytest.mark.parametrize("steps", [[["named", "ignores"]], [["named"], ["ignores"]], [["ignores"], ["named"]]], ids=str)
def test_an_entry_that_another_collapsed_call_was_given_is_picked_even_if_that_call_ignores_it(
    unused: str, steps: list[list[str]]
) -> None:
    collapsed = _collapsed(PassesEntries("used", unused), steps)
    (node,) = [node for node in collapsed.graph.nodes if node.target == "ignores"]
    assert [part.args[1] for part in node.args if isinstance(part, fx.Node)] == ["used", unused]


@pytest.mark.parametrize("unused", ["unused", "parameter"])
def test_a_call_that_stays_is_known_to_have_been_given_an_entry_that_it_ignores(unused: str) -> None:
    collapsed = _collapsed(PassesEntries("used", unused), [["named"]])
    record = capture_record(collapsed)
    assert record is not None
    (call,) = [call for call in record.calls if call.path == "ignores"]
    nodes = {node.name: node for node in collapsed.graph.nodes}
    assert [nodes[part.name].args[1] for part in call.args if isinstance(part, NodeRef)] == ["used", unused]


def test_an_entry_that_nobody_asked_for_is_not_picked() -> None:
    collapsed = _collapsed(PassesEntries("used"), [["named"]])
    assert [node.name for node in collapsed.graph.nodes] == ["x", "named", "getitem", "neg", "output"]


def test_a_parameter_that_is_read_by_collapsed_calls_alone_is_no_longer_read_by_the_graph() -> None:
    model = nn.Sequential(nn.Sequential(Scaled()), nn.Sequential(Scaled()))
    model[1][0].scale = model[0][0].scale
    for steps in STEPS:
        assert [str(node.target) for node in _collapsed(model, steps).graph.nodes] == ["input", "0", "1", "output"]


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ReturnsNested(nn.Module):
    def forward(self, x: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor, dict[str, Tensor]]:
        return {"pair": (torch.relu(x), torch.neg(x))}, torch.abs(x), {"one": torch.tanh(x)}


class UsesNested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nested = ReturnsNested()

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.nested(x)
        y = torch.exp(second)
        z = torch.sin(y)
        left, right = first["pair"]
        return left * right + torch.cos(z) * third["one"]


def _keys(graph: fx.Graph) -> list[tuple[str, list[str]]]:
    """What each node computes, for one that picks an entry which, and the calls that it is inside of."""
    return [
        (str(node.args[1] if node.target is operator.getitem else node.target), [scope.key for scope in scopes(node)])
        for node in graph.nodes
    ]


def test_what_a_call_returned_is_taken_apart_as_its_caller_does() -> None:
    model = nn.Sequential(UsesNested())
    traced = capture_symbolic(model, tracer_options={"leaf_modules": [ReturnsNested]})
    assert _keys(_collapsed(model, [["0.nested"]]).graph) == _keys(traced.graph)


class ScaledToo(Scaled):
    pass


def test_a_parameter_that_a_call_was_the_first_to_read_is_then_read_where_it_is_used_next() -> None:
    model = nn.Sequential(nn.Sequential(ScaledToo()), nn.Sequential(Scaled()))
    model[1][0].scale = model[0][0].scale
    traced = capture_symbolic(model, tracer_options={"leaf_modules": [ScaledToo]})
    assert _keys(_collapsed(model, [["0.0"]]).graph) == _keys(traced.graph)


def test_a_collapsed_call_has_its_name_already() -> None:
    graph_module = NameNodes()(capture_symbolic(nn.Sequential(nn.Sequential(nn.ReLU())))).graph_module
    collapsed = CollapseLeaves(["0"])(graph_module).graph_module
    assert [qualified_name(node) for node in collapsed.graph.nodes] == ["input", "0", None]
    assert not NameNodes()(collapsed).modified
