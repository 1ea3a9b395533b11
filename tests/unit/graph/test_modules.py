from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.modules import attribute, copy_targets, drop_unused, install, submodule, targets


class _Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("shift", torch.zeros(2), persistent=False)
        self.plain = torch.ones(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block[1](x * self.scale + self.shift) + self.plain


def test_targets_come_in_order() -> None:
    assert list(targets(fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Tanh())).graph)) == ["0", "1"]


def test_an_attribute_that_is_not_there_is_none() -> None:
    model = _Holds()
    assert attribute(model, "block.0") is model.block[0]
    assert attribute(model, "block.7.weight") is None


class _HasAnAlias(_Holds):
    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.ModuleDict({"act": nn.ReLU(), "_act": nn.Tanh()})

    @property
    def first(self) -> nn.Module:
        return self.block[0]


def test_a_module_is_found_where_torch_finds_it() -> None:
    model = _HasAnAlias()
    for path in ("block", "block.1", "pair.act", "pair._act", "first"):
        assert submodule(model, path) is model.get_submodule(path)


@pytest.mark.parametrize("path", ["block.7", "no.such", "scale"])
def test_a_module_that_is_not_there_is_reported_as_torch_reports_it(path: str) -> None:
    with pytest.raises(AttributeError) as expected:
        _Holds().get_submodule(path)
    with pytest.raises(AttributeError) as found:
        submodule(_Holds(), path)
    assert str(found.value) == str(expected.value)


def test_what_is_installed_is_the_same_object_and_containers_are_fresh() -> None:
    model, into = _Holds().eval(), nn.Module()
    for path in ("block.0.weight", "scale", "shift", "plain", "no.such"):
        install(model, into, path)
    assert into.get_parameter("block.0.weight") is model.block[0].weight
    assert into.block is not model.block
    assert not into.block.training
    assert into.shift is model.shift
    assert list(into.state_dict()) == ["scale", "block.0.weight"]
    assert into.plain is model.plain


def test_copying_the_targets_of_a_graph() -> None:
    model, into = _Holds(), nn.Module()
    graph = fx.Graph()
    graph.call_module("block.1", (graph.placeholder("x"),))
    graph.get_attr("scale", type_expr=None)
    copy_targets(model, into, graph)
    assert list(into._modules["block"]._modules) == ["1"]
    assert list(into._parameters) == ["scale"]


def test_what_no_node_uses_is_dropped_and_shared_containers_are_not_touched() -> None:
    model = _Holds()
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_module("block", (x,)))
    graph_module = LazyGraphModule(model, graph)
    graph_module.add_module("unused", nn.Linear(3, 3))
    assert drop_unused(graph_module) == 2
    assert graph_module.block is model.block
    assert len(model.block) == 2
    assert drop_unused(graph_module) == 0


def test_containers_that_lose_nothing_stay_and_others_are_replaced_not_emptied() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
            self.part = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.part(self.whole(x))

    graph_module = fx.symbolic_trace(Two())
    whole, part = graph_module.whole, graph_module.part
    graph = graph_module.graph
    *_, relu, output = graph.nodes
    output.args = (relu.args[0],)
    graph.erase_node(relu)
    assert drop_unused(graph_module) == 0
    assert graph_module.whole is whole
    assert graph_module.part is not part
    assert list(graph_module.part._modules) == ["0"]
    assert graph_module.part.training is part.training
    assert list(part._modules) == ["0", "1"]


@pytest.mark.parametrize("name", ["code", "graph", "meta", "is_compiled"])
@pytest.mark.parametrize("persistent", [None, True, False])
def test_a_parameter_or_buffer_may_be_called_what_a_graph_module_calls_its_own(
    name: str, persistent: bool | None
) -> None:
    model = nn.Module()
    if persistent is None:
        model.register_parameter(name, nn.Parameter(torch.ones(2)))
    else:
        model.register_buffer(name, torch.ones(2), persistent=persistent)
    graph = fx.Graph()
    read = graph.get_attr(name)
    graph.output(read)
    graph_module = LazyGraphModule(model, graph)
    assert read.target == f"{name}_"
    assert graph_module() is getattr(model, name)
    assert list(graph_module.state_dict()) == ([] if persistent is False else [f"{name}_"])


@pytest.mark.parametrize("path", ["no.such.path", "scale.data", "scale.data.data", "plain.data"])
def test_what_is_below_no_module_is_left_out(path: str) -> None:
    into = nn.Module()
    install(_Holds(), into, path)
    assert vars(into).keys() == vars(nn.Module()).keys()
    assert not [*into.children(), *into.parameters(), *into.buffers()]


def test_a_child_is_found_behind_a_property_of_its_name() -> None:
    class Hides(nn.Module):
        @property
        def block(self) -> str:
            return "a description"

    model, into = Hides(), nn.Module()
    model._modules["block"] = nn.Sequential(nn.ReLU())
    install(model, into, "block.0")
    assert into.get_submodule("block.0") is model._modules["block"].get_submodule("0")


def test_a_module_that_is_taken_whole_is_not_changed() -> None:
    model, into = nn.Sequential(_HasAnAlias()), nn.Module()
    graph = fx.Graph()
    x = graph.placeholder("x")
    for path in ("0", "0.first", "0.block.0.weight"):
        graph.call_module(path, (x,))
    copy_targets(model, into, graph)
    assert into.get_submodule("0") is model[0]
    assert list(model[0]._modules) == ["block", "pair"]


def test_a_buffer_that_was_dropped_may_come_back_as_a_persistent_one() -> None:
    model = _Holds()
    graph = fx.Graph()
    graph.get_attr("shift")
    graph.output(())
    graph_module = LazyGraphModule(model, graph)
    graph.erase_node(next(iter(graph.nodes)))
    assert drop_unused(graph_module) == 1
    persistent = nn.Module()
    persistent.register_buffer("shift", torch.ones(2))
    install(persistent, graph_module, "shift")
    assert list(graph_module.state_dict()) == ["shift"]


def test_a_container_that_loses_something_keeps_its_mode_and_which_buffers_are_saved() -> None:
    model = nn.Module()
    model.part = nn.Module().eval()
    for name, persistent in (("saved", True), ("not_saved", False), ("unused", True)):
        model.part.register_buffer(name, torch.ones(1), persistent=persistent)
    graph = fx.Graph()
    graph.output([graph.get_attr("part.saved"), graph.get_attr("part.not_saved")])
    graph_module = fx.GraphModule(model, graph)
    graph_module.part = model.part
    assert drop_unused(graph_module) == 1
    assert list(graph_module.part._buffers) == ["saved", "not_saved"]
    assert list(graph_module.state_dict()) == ["part.saved"]
    assert not graph_module.part.training


@pytest.mark.parametrize("path", ["no.such.weight", "empty.weight"])
def test_a_target_that_is_not_there_keeps_nothing_and_stops_nothing(path: str) -> None:
    graph = fx.Graph()
    graph_module = fx.GraphModule(nn.Module(), graph)
    graph_module.register_module("empty", None)
    graph_module.add_module("unused", nn.Linear(2, 2))
    graph.create_node("get_attr", path)
    assert drop_unused(graph_module) == 2


def test_a_plain_attribute_of_a_container_that_loses_something_stays() -> None:
    model = nn.Module()
    model.part = _Holds()
    graph = fx.Graph()
    graph_module = fx.GraphModule(nn.Module(), graph)
    graph_module.part = model.part
    for name in ("plain", "not_there"):
        graph.create_node("get_attr", f"part.{name}")
    assert drop_unused(graph_module) == 4
    assert graph_module.part is not model.part
    assert graph_module.part.plain is model.part.plain
    assert not hasattr(graph_module.part, "not_there")


@pytest.mark.parametrize("into", [nn.Module, lambda: fx.GraphModule(nn.Module(), fx.Graph())], ids=["module", "graph"])
def test_what_is_neither_parameter_nor_buffer_does_not_become_one(into: Callable[[], nn.Module]) -> None:
    model, destination = nn.Module(), into()
    model.plain, model.sizes = torch.ones(2), {"a": 1}
    setattr(model, "class", {"b": 2})
    for name in ("plain", "sizes", "class"):
        install(model, destination, name)
        assert getattr(destination, name) is getattr(model, name)
    assert not [*destination.parameters(), *destination.buffers()]


def test_what_is_not_used_goes_also_from_a_container_in_a_container() -> None:
    model = nn.Module()
    model.outer = nn.Module()
    model.outer.inner = _Holds()
    graph = fx.Graph()
    graph_module = fx.GraphModule(nn.Module(), graph)
    graph_module.outer = model.outer
    graph.create_node("get_attr", "outer.inner.scale")
    assert drop_unused(graph_module) == 3
    assert [name for name, _ in graph_module.named_parameters()] == ["outer.inner.scale"]
    assert len([*model.parameters(), *model.buffers()]) == 4
