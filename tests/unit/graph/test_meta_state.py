"""What happened to the meta of nodes."""

from __future__ import annotations

import copy

from torch import fx

from fxpasses.graph.meta_state import MetaChange, MetaState, compare_meta, shared_keys
from fxpasses.graph.state import GraphState


def _traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2)
    for index, node in enumerate(graph_module.graph.nodes):
        node.meta["cost"] = index
    return graph_module


def _of(graph_module: fx.GraphModule) -> MetaState:
    return MetaState.of(GraphState.of(graph_module))


def test_in_one_graph_a_node_is_itself_under_any_name() -> None:
    graph_module = _traced()
    before = _of(graph_module)
    add = list(graph_module.graph.nodes)[1]
    add.name = "other"
    add.meta["cost"] = 7
    assert compare_meta(before, _of(graph_module)) == {add: MetaChange((), (), ("cost",))}


def test_between_two_graphs_nodes_of_one_name_are_the_same() -> None:
    first, second = _traced(), copy.deepcopy(_traced())
    mul = list(second.graph.nodes)[2]
    mul.meta = {"price": 1}
    assert compare_meta(_of(first), _of(second)) == {mul: MetaChange(("cost",), ("price",), ())}


def _with_sources() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2)
    x, add, mul, _ = graph_module.graph.nodes
    add.meta["source"], mul.meta["source"] = x, [add]
    return graph_module


def test_a_node_in_meta_is_itself() -> None:
    graph_module = _with_sources()
    x, add, mul, _ = graph_module.graph.nodes
    before = _of(graph_module)
    mul.meta["source"] = [add]
    assert not compare_meta(before, _of(graph_module))
    mul.meta["source"] = [x]
    assert compare_meta(before, _of(graph_module)) == {mul: MetaChange((), (), ("source",))}


def test_a_node_in_meta_is_not_another_one_of_its_name() -> None:
    graph_module = _with_sources()
    _, add, mul, _ = graph_module.graph.nodes
    before = _of(graph_module)
    with graph_module.graph.inserting_after(add):
        new = graph_module.graph.node_copy(add)
    add.replace_all_uses_with(new)
    graph_module.graph.erase_node(add)
    new.name, mul.meta["source"] = add.name, [new]
    assert compare_meta(before, _of(graph_module)) == {mul: MetaChange((), (), ("source",))}


def test_between_two_graphs_nodes_of_one_name_are_the_same_in_meta_too() -> None:
    first, second = _with_sources(), _with_sources()
    assert not compare_meta(_of(first), _of(second))
    x, _, mul, _ = second.graph.nodes
    mul.meta["source"] = [x]
    assert compare_meta(_of(first), _of(second)) == {mul: MetaChange((), (), ("source",))}


def test_what_several_nodes_share_is_copied_once_and_a_write_into_it_is_an_edit_of_each() -> None:
    graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2)
    _, add, mul, _ = graph_module.graph.nodes
    shared = {"cost": 1}
    add.meta["custom"] = mul.meta["custom"] = shared
    before = _of(graph_module)
    assert before.metas[1]["custom"] is before.metas[2]["custom"]
    shared["cost"] = 2
    edited = MetaChange((), (), ("custom",))
    assert compare_meta(before, _of(graph_module)) == {add: edited, mul: edited}


def test_shared_keys_are_those_of_all_in_the_order_of_the_first() -> None:
    assert list(shared_keys([{"b": 1, "a": 1, "d": 1}, {"a": 1, "b": 1, "c": 1}])) == ["b", "a"]
    assert list(shared_keys([{"b": 1}])) == ["b"]
    assert list(shared_keys([])) == []
