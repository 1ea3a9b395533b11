"""What is different between two states of a graph, said in one line."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.graph import CodeGen

from fxpasses.graph.change import GraphChange, compare, same_value
from fxpasses.graph.lazy_graph_module import with_own_graph
from fxpasses.graph.state import GraphState

_NODES = tuple(fx.Graph().placeholder(f"n{index}") for index in range(6))
_ONE = _NODES[:1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (GraphChange(added=_ONE), "added n0"),
        (GraphChange(removed=_ONE), "removed n0"),
        (GraphChange(edited={_NODES[0]: ("args", "kwargs")}), "edited n0.args, n0.kwargs"),
        (GraphChange(moved=_ONE), "moved n0"),
        (GraphChange(modules=True), "changed modules or tensors"),
        (GraphChange(other=("code generator",)), "code generator"),
        (GraphChange(added=_ONE, removed=_NODES[1:3]), "added n0; removed n1, n2"),
        (GraphChange(added=_NODES), "added n0, n1, n2, n3, n4 and 1 more"),
        (GraphChange(added=_NODES[:5]), "added n0, n1, n2, n3, n4"),
    ],
)
def test_every_kind_of_difference_is_one_and_is_said(change: GraphChange, text: str) -> None:
    assert change
    assert str(change) == text


def test_no_difference_is_false_and_says_so() -> None:
    assert not GraphChange()
    assert str(GraphChange()) == "nothing"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("op", "call_method"), ("name", "total"), ("target", operator.sub), ("args", ()), ("kwargs", {"other": 1}),
        ("type", torch.Tensor),
    ],
)  # fmt: skip
def test_a_field_that_was_set_is_told_by_its_name(field: str, value: object) -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    add = next(node for node in graph_module.graph.nodes if node.name == "add")
    before = GraphState.of(graph_module)
    setattr(add, field, value)
    assert compare(before, GraphState.of(graph_module)).edited == {add: (field,)}


def test_a_graph_inside_that_is_gone_is_told_by_its_path() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    graph_module.add_module("inner", fx.symbolic_trace(lambda x: x + 1))
    before = GraphState.of(graph_module)
    del graph_module.inner
    assert compare(before, GraphState.of(graph_module)) == GraphChange(modules=True, other=("graph of 'inner'",))


def test_that_another_graph_module_is_another_module_is_no_difference() -> None:
    graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
    assert not compare(GraphState.of(graph_module), GraphState.of(with_own_graph(graph_module)))


def test_graphs_inside_that_are_gone_are_told_in_the_order_of_their_paths() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    paths = ["f", "b", "d", "a", "e", "c"]
    for path in paths:
        graph_module.add_module(path, fx.symbolic_trace(lambda x: x + 1))
    before = GraphState.of(graph_module)
    for path in paths:
        delattr(graph_module, path)
    assert compare(before, GraphState.of(graph_module)).other == tuple(f"graph of {path!r}" for path in sorted(paths))


def test_another_code_generator_is_told() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    before = GraphState.of(graph_module)
    graph_module.graph.set_codegen(CodeGen())
    assert compare(before, GraphState.of(graph_module)) == GraphChange(other=("code generator",))


def test_what_uses_another_node_of_the_same_name_is_edited() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    x, old, output = graph_module.graph.nodes
    before = GraphState.of(graph_module)
    with graph_module.graph.inserting_before(old):
        new = graph_module.graph.call_function(operator.sub, (x, 1))
    old.replace_all_uses_with(new)
    graph_module.graph.erase_node(old)
    new.name = old.name
    assert compare(before, GraphState.of(graph_module)) == GraphChange((new,), (old,), {output: ("args",)}, {old: new})


def test_an_edit_far_behind_an_added_node_is_told() -> None:
    graph_module = fx.symbolic_trace(lambda x: x.abs().neg().exp().sin())
    x, _, _, exp, _, _ = graph_module.graph.nodes
    before = GraphState.of(graph_module)
    with graph_module.graph.inserting_after(x):
        new = graph_module.graph.call_method("cos", (x,))
    exp.args = (x,)
    assert compare(before, GraphState.of(graph_module)) == GraphChange(added=(new,), edited={exp: ("args",)})


def test_a_node_before_all_others_is_told() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    x, *_ = graph_module.graph.nodes
    before = GraphState.of(graph_module)
    with graph_module.graph.inserting_before(x):
        new = graph_module.graph.placeholder("new")
    assert compare(before, GraphState.of(graph_module)) == GraphChange(added=(new,))


def test_edits_are_told_in_the_order_of_the_graph() -> None:
    graph = fx.Graph()
    nodes = [graph.placeholder(f"x{index}") for index in range(17)]
    graph.output(nodes[0])
    graph_module = fx.GraphModule(nn.Module(), graph)
    before = GraphState.of(graph_module)
    for node in nodes[::-1]:
        node.type = torch.Tensor
    assert list(compare(before, GraphState.of(graph_module)).edited) == nodes
    nodes[1].type = nodes[8].type = nodes[16].type = None
    after = GraphState.of(graph_module)
    for index in (16, 8, 1):
        nodes[index].type = torch.Tensor
    assert list(compare(after, GraphState.of(graph_module)).edited) == [nodes[1], nodes[8], nodes[16]]


def test_a_node_that_is_given_fewer_arguments_than_before_is_edited() -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.sum(x.abs(), 0))
    x, old, total, _ = graph_module.graph.nodes
    before = GraphState.of(graph_module)
    total.args = (x,)
    graph_module.graph.erase_node(old)
    change = GraphChange(removed=(old,), edited={total: ("args",)}, replaced={old: x})
    assert compare(before, GraphState.of(graph_module)) == change


class _CannotBeCompared:
    def __eq__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None


def test_values_that_cannot_be_compared_are_not_the_same() -> None:
    assert not same_value(_CannotBeCompared(), _CannotBeCompared(), operator.is_)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (0.0, -0.0, False),
        (0j, -0j, False),
        (1.0, float("nan"), False),
        (float("nan"), -float("nan"), True),
        (0.1, 1e-1, True),
    ],
)
def test_numbers_are_the_same_if_they_are_written_alike(before: complex, after: complex, same: bool) -> None:
    assert same_value((before,), (after,), operator.is_) is same


def test_a_zero_that_changes_its_sign_is_an_edit() -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.mul(x, 0.0))
    (node,) = graph_module.graph.find_nodes(op="call_function", target=torch.mul)
    before = GraphState.of(graph_module)
    node.args = (node.args[0], -0.0)
    assert compare(before, GraphState.of(graph_module)) == GraphChange(edited={node: ("args",)})


def test_moved_nodes_are_told_in_the_order_of_the_graph() -> None:
    graph = fx.Graph()
    nodes = [graph.placeholder(f"x{index}") for index in range(5)]
    graph.output(nodes[0])
    graph_module = fx.GraphModule(nn.Module(), graph)
    before = GraphState.of(graph_module)
    nodes[0].prepend(nodes[2])
    nodes[0].prepend(nodes[4])
    assert list(graph.nodes)[:2] == [nodes[2], nodes[4]]
    assert compare(before, GraphState.of(graph_module)) == GraphChange(moved=(nodes[2], nodes[4]))


def test_a_removed_node_is_replaced_by_the_node_that_is_in_its_place_wherever_it_was_an_argument() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    old, other = graph.call_method("neg", (x,)), graph.call_method("abs", (x,))
    used = graph.call_function(torch.add, (x, [old]), {"alpha": other})
    graph.output((used, slice(old, None)))
    graph_module = fx.GraphModule(nn.Module(), graph)
    before = GraphState.of(graph_module)
    used.args, used.kwargs = (y, [x]), {"alpha": 2}
    graph.output_node().args = ((used, slice(x, None)),)
    for node in (old, other):
        graph.erase_node(node)
    assert compare(before, GraphState.of(graph_module)).replaced == {old: x}


def test_a_removed_node_that_was_passed_by_keyword_is_replaced_too() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    old = graph.call_method("neg", (x,))
    used = graph.call_function(torch.add, (x,), {"other": old})
    graph.output(used)
    graph_module = fx.GraphModule(nn.Module(), graph)
    before = GraphState.of(graph_module)
    used.kwargs = {"other": x}
    graph.erase_node(old)
    assert compare(before, GraphState.of(graph_module)).replaced == {old: x}


def test_a_node_in_the_place_of_a_list_or_dict_replaces_nothing_in_it() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    old = graph.call_method("neg", (x,))
    used = graph.call_function(torch.cat, ([old], {"dim": old}))
    graph.output(used)
    graph_module = fx.GraphModule(nn.Module(), graph)
    before = GraphState.of(graph_module)
    used.args = (x, x)
    graph.erase_node(old)
    assert compare(before, GraphState.of(graph_module)) == GraphChange(removed=(old,), edited={used: ("args",)})


@pytest.mark.parametrize("other", [2.0, "n0", None])
def test_a_node_is_the_same_as_no_other_value(other: object) -> None:
    assert same_value(_NODES[0], _NODES[1], lambda left, right: True)
    assert not same_value(_NODES[0], other, lambda left, right: True)
    assert not same_value(other, _NODES[0], lambda left, right: True)


@pytest.mark.parametrize("other", [slice(1, 4, 1), slice(0, 5, 1), slice(0, 4, 2), slice(_NODES[1], 4, 1)])
def test_slices_are_the_same_if_all_their_parts_are(other: slice) -> None:
    assert same_value(slice(0, 4, 1), slice(0, 4, 1), operator.is_)
    assert not same_value(slice(0, 4, 1), other, operator.is_)


def test_a_slice_that_changes_one_end_is_an_edit() -> None:
    graph_module = fx.symbolic_trace(lambda x: x[1:3])
    (node,) = graph_module.graph.find_nodes(op="call_function", target=operator.getitem)
    before = GraphState.of(graph_module)
    node.args = (node.args[0], slice(1, 3))
    assert not compare(before, GraphState.of(graph_module))
    node.args = (node.args[0], slice(1, 4))
    assert compare(before, GraphState.of(graph_module)) == GraphChange(edited={node: ("args",)})


def test_two_tensors_that_hold_one_equal_number_are_not_the_same() -> None:
    assert not same_value(torch.ones(1), torch.ones(1), operator.is_)


def test_symbolic_sizes_are_compared_without_a_guard() -> None:
    shapes = ShapeEnv()
    height, width = FakeTensorMode(shape_env=shapes).from_tensor(torch.ones(4, 6), static_shapes=False).shape
    assert same_value(height + 1, height + 1, operator.is_)
    assert not same_value(height, width, operator.is_)
    assert not shapes.guards
