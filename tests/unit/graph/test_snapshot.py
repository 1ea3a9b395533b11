from __future__ import annotations

import copy
import operator
from collections.abc import Callable

import pytest
import torch
from support.mutations import node
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.graph.change import compare
from fxpasses.graph.meta_state import MetaState, compare_meta
from fxpasses.graph.snapshot import ModuleSnapshot, Snapshot
from fxpasses.graph.state import GraphState
from fxpasses.graph.verify import verify


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True))
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block(x)
        return self.head(y + x) * y.sum()


def erases_everything(graph_module: fx.GraphModule) -> None:
    for each in reversed(list(graph_module.graph.nodes)):
        graph_module.graph.erase_node(each)


def replaces_and_erases(graph_module: fx.GraphModule) -> None:
    add = node(graph_module, "add")
    with graph_module.graph.inserting_after(add):
        new = graph_module.graph.call_function(torch.sub, add.args)
    add.replace_all_uses_with(new)
    graph_module.graph.erase_node(add)


def moves(graph_module: fx.GraphModule) -> None:
    node(graph_module, "head").prepend(node(graph_module, "sum_1"))


def renames(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").name = "total"


def empties_users(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").users.clear()


def clears_meta(graph_module: fx.GraphModule) -> None:
    for each in graph_module.graph.nodes:
        each.meta.clear()
    graph_module.meta.clear()


def replaces_meta(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").meta = {"other": 1}


def writes_into_nested_meta(graph_module: fx.GraphModule) -> None:
    node(graph_module, "head").meta["nn_module_stack"].clear()
    node(graph_module, "head").meta["custom"]["deep"]["list"].append(2)


def takes_another_graph(graph_module: fx.GraphModule) -> None:
    graph_module.graph = copy.deepcopy(graph_module.graph)


def changes_modules(graph_module: fx.GraphModule) -> None:
    graph_module.add_module("extra", nn.ReLU())
    del graph_module.head
    graph_module.block.register_module("0", nn.Identity())
    graph_module.train(not graph_module.training)


def adds_hooks(graph_module: fx.GraphModule) -> None:
    graph_module.register_forward_hook(lambda *_: None)
    graph_module._register_create_node_hook(lambda _: None)
    graph_module.head.register_forward_pre_hook(lambda *_: None)


def recompiles(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").target = torch.sub
    graph_module.recompile()


def changes_the_insert_point(graph_module: fx.GraphModule) -> None:
    graph_module.graph.inserting_before(node(graph_module, "add"))


def sets_codegen(graph_module: fx.GraphModule) -> None:
    graph_module.graph.set_codegen(fx.graph.CodeGen())


DAMAGE: list[Callable[[fx.GraphModule], None]] = [
    erases_everything, replaces_and_erases, moves, renames, empties_users, clears_meta, replaces_meta,
    writes_into_nested_meta, takes_another_graph, changes_modules, adds_hooks, recompiles, changes_the_insert_point,
    sets_codegen,
]  # fmt: skip


@pytest.mark.parametrize("capture", [fx.symbolic_trace, capture_symbolic])
@pytest.mark.parametrize("damage", DAMAGE)
def test_puts_everything_back(
    damage: Callable[[fx.GraphModule], None], capture: Callable[[nn.Module], fx.GraphModule]
) -> None:
    graph_module = capture(Model().eval())
    head = node(graph_module, "head")
    head.meta["custom"] = {"deep": {"list": [1]}}
    graph, nodes, modules = graph_module.graph, list(graph_module.graph.nodes), dict(graph_module.named_modules())
    state = GraphState.of(graph_module)
    meta, attached, x = MetaState.of(state), dict(graph_module.meta), torch.randn(4, 3)
    expected, text = graph_module(x), str(graph)
    attributes = {name: (value, copy.copy(value)) for name, value in graph_module.__dict__.items()}
    snapshot = Snapshot.take(graph_module)
    damage(graph_module)
    snapshot.restore()
    assert graph_module.graph is graph
    assert list(graph.nodes) == nodes
    assert len(graph.nodes) == len(nodes)
    assert list(reversed(graph.nodes)) == nodes[::-1]
    assert not compare(state, GraphState.of(graph_module))
    assert compare_meta(meta, MetaState.of(GraphState.of(graph_module))) == {}
    assert graph_module.meta == attached
    assert dict(graph_module.named_modules()) == modules
    assert all(graph_module.__dict__[name] is value for name, (value, _) in attributes.items())
    assert len(graph_module._forward_hooks) == len(head.graph.owning_module._create_node_hooks) == 0
    assert str(graph) == text
    assert torch.equal(graph_module(x), expected)
    verify(graph_module)
    graph_module.recompile()
    assert torch.equal(graph_module(x), expected)


def test_a_restored_graph_can_be_changed_again_and_restored_again() -> None:
    graph_module = fx.symbolic_trace(Model())
    snapshot = Snapshot.take(graph_module)
    text = str(graph_module.graph)
    for damage in (erases_everything, replaces_and_erases, erases_everything):
        damage(graph_module)
        snapshot.restore()
    assert str(graph_module.graph) == text
    graph_module.graph.call_function(torch.abs, (node(graph_module, "x"),))
    assert list(graph_module.graph.nodes)[-1].name == "abs_1"


def test_graph_modules_inside_are_put_back_too() -> None:
    class Leaf(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return isinstance(m, fx.GraphModule) or super().is_leaf_module(m, module_qualified_name)

    model = nn.Sequential(fx.symbolic_trace(Model()), nn.ReLU())
    graph_module = fx.GraphModule(model, Leaf().trace(model))
    inner = graph_module.get_submodule("0")
    text = str(inner.graph)
    snapshot = Snapshot.take(graph_module)
    replaces_and_erases(inner)
    inner.recompile()
    snapshot.restore()
    assert str(inner.graph) == text
    assert "sub" not in inner.code


def test_a_modules_state_is_put_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    snapshot = ModuleSnapshot.take(model)
    model.append(nn.Tanh())
    model[0].register_buffer("extra", torch.ones(1))
    model[0].weight.requires_grad_(True)
    model.eval()
    model.custom = 3
    snapshot.restore()
    assert len(model) == 2
    assert "extra" not in dict(model.named_buffers())
    assert model.training
    assert not hasattr(model, "custom")


def test_an_attribute_that_was_renamed_has_its_name_back() -> None:
    model = nn.ReLU()
    model.custom = 3
    snapshot = ModuleSnapshot.take(model)
    model.other = model.__dict__.pop("custom")
    snapshot.restore()
    assert model.custom == 3
    assert not hasattr(model, "other")


def test_nothing_of_the_code_that_was_made_since_stays_on_the_class() -> None:
    graph_module = capture_symbolic(Model().eval())
    own_class = type(graph_module)
    before = dict(vars(own_class))
    snapshot = Snapshot.take(graph_module)
    graph_module(torch.ones(4, 3))
    assert dict(vars(own_class)) != before
    snapshot.restore()
    assert dict(vars(own_class)) == before


def test_what_the_meta_of_a_graph_module_holds_is_put_back_as_deep_as_it_goes() -> None:
    graph_module = fx.symbolic_trace(Model())
    graph_module.meta["mine"] = {"numbers": [1, {2}]}
    snapshot = Snapshot.take(graph_module)
    graph_module.meta["mine"]["numbers"][1].add(3)
    graph_module.meta["mine"]["numbers"].append(4)
    snapshot.restore()
    assert graph_module.meta["mine"] == {"numbers": [1, {2}]}


def test_meta_that_was_empty_is_empty_again() -> None:
    graph = fx.Graph()
    graph.output(graph.placeholder("x"))
    graph_module = fx.GraphModule(nn.Module(), graph)
    snapshot = Snapshot.take(graph_module)
    for each in graph.nodes:
        each.meta["mine"] = 1
    snapshot.restore()
    assert [each.meta for each in graph.nodes] == [{}, {}]


def test_an_attribute_of_the_graph_that_is_new_is_gone() -> None:
    graph_module = fx.symbolic_trace(Model())
    snapshot = Snapshot.take(graph_module)
    graph_module.graph.custom = 3
    snapshot.restore()
    assert not hasattr(graph_module.graph, "custom")


def _with_two_more(graph_module: fx.GraphModule) -> tuple[fx.Node, fx.Node]:
    with graph_module.graph.inserting_before(node(graph_module, "add")):
        first = graph_module.graph.call_function(torch.sub, (node(graph_module, "x"), 1))
        return first, graph_module.graph.call_function(torch.sub, (first, 1))


def test_nodes_that_were_added_since_are_not_found() -> None:
    graph_module = fx.symbolic_trace(Model())
    snapshot = Snapshot.take(graph_module)
    _with_two_more(graph_module)
    node(graph_module, "add").target = torch.div
    snapshot.restore()
    for target in (torch.sub, torch.div):
        assert graph_module.graph.find_nodes(op="call_function", target=target) == []
    assert graph_module.graph.find_nodes(op="call_function", target=operator.add) == [node(graph_module, "add")]


def test_nodes_that_were_added_since_count_as_erased() -> None:
    graph_module = fx.symbolic_trace(Model())
    graph, count = graph_module.graph, len(graph_module.graph.nodes)
    snapshot = Snapshot.take(graph_module)
    added = _with_two_more(graph_module)
    snapshot.restore()
    for each in added:
        assert each.all_input_nodes == []
        with pytest.warns(UserWarning, match="already erased"):
            graph.erase_node(each)
    assert len(graph.nodes) == len(list(graph.nodes)) == count
