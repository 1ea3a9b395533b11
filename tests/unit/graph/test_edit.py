from __future__ import annotations

import functools

import pytest
import torch
from torch import fx

from fxpasses.graph.edit import carry_meta, insert_after, made_like, replace_call, take_place
from fxpasses.graph.meta import qualified_name, set_name
from fxpasses.graph.verify import verify


@pytest.fixture
def graph() -> fx.Graph:
    graph_module = fx.symbolic_trace(lambda x: torch.relu(x) + 1)
    relu = list(graph_module.graph.nodes)[1]
    relu.meta.update(stack_trace="here", val=torch.empty(2), nn_module_stack={"a": ("a", torch.nn.ReLU)})
    relu.meta.update(tensor_meta="a shape", example_value=torch.empty(2))
    relu.meta["custom"] = {"cost": 3}
    set_name(relu, "a.relu", "exact")
    return graph_module.graph


def relu_of(graph: fx.Graph) -> fx.Node:
    return list(graph.nodes)[1]


def test_another_value_gets_neither_shape_nor_name(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    with graph.inserting_after(relu):
        new = graph.call_function(torch.sum, (relu,))
    carry_meta(relu, new, same_value=False)
    assert new.meta == {"stack_trace": "here", "nn_module_stack": {"a": ("a", torch.nn.ReLU)}, "custom": {"cost": 3}}
    assert qualified_name(relu) == "a.relu"


def test_its_own_meta_stays(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    with graph.inserting_after(relu):
        new = graph.call_function(torch.sum, (relu,))
    new.meta["stack_trace"] = "there"
    carry_meta(relu, new, same_value=True)
    assert new.meta["stack_trace"] == "there"
    assert qualified_name(new) == "a.relu"


def test_nodes_made_in_the_block_carry_meta_and_others_do_not(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    with made_like(relu), graph.inserting_after(relu):
        first = graph.call_function(torch.abs, (relu,))
        with made_like(relu):
            second = graph.create_node("call_method", "neg", (first,))
        third = graph.call_method("neg", (second,))
    with graph.inserting_after(third):
        outside = graph.call_method("neg", (third,))
    assert [node.meta.get("stack_trace") for node in (first, second, third, outside)] == ["here", "here", "here", None]


def test_a_block_inside_of_a_block_counts_until_it_ends(graph: fx.Graph) -> None:
    x, relu, *_ = graph.nodes
    x.meta = {"cost": 4}
    with made_like(relu), graph.inserting_after(relu):
        with made_like(x):
            both = graph.call_method("neg", (relu,))
        outer = graph.call_method("neg", (relu,))
    assert [(node.meta["stack_trace"], node.meta.get("cost")) for node in (both, outer)] == [
        ("here", 4),
        ("here", None),
    ]


def test_nodes_made_in_the_block_are_not_taken_for_the_value_of_what_they_are_like(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    with made_like(relu), graph.inserting_after(relu):
        new = graph.call_function(torch.sum, (relu,))
    assert "val" not in new.meta
    assert qualified_name(new) is None


def test_the_block_ends_also_when_it_raises(graph: fx.Graph) -> None:
    with pytest.raises(KeyError), made_like(relu_of(graph)):
        raise KeyError
    assert "create_node" not in graph.__dict__


def test_what_takes_a_place_gets_uses_meta_and_name(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    new = replace_call(relu, "call_method", "relu", relu.args)
    assert next(node.target for node in graph.nodes if node.op.startswith("call_")) == "relu"
    assert relu not in list(graph.nodes)
    assert qualified_name(new) == "a.relu"
    assert new.meta["val"].shape == (2,)
    verify(fx.GraphModule(torch.nn.Module(), graph))


def test_what_takes_a_place_may_use_what_was_there(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    with graph.inserting_after(relu):
        new = graph.call_method("clone", (relu,))
    take_place(new, relu)
    assert list(relu.users) == [new]
    assert len(new.users) == 1


def test_inserts_behind_the_last_placeholder() -> None:
    graph = fx.symbolic_trace(lambda x, y: x + y).graph
    insert_after(next(iter(graph.nodes)), "call_method", "clone", (next(iter(graph.nodes)),))
    assert [node.op for node in graph.nodes][:3] == ["placeholder", "placeholder", "call_method"]


def test_inserts_right_behind_what_comes_before_a_placeholder() -> None:
    graph = fx.Graph()
    held = graph.get_attr("held")
    x = graph.placeholder("x")
    graph.output((held, x))
    new = insert_after(held, "call_method", "clone", (held,))
    assert list(graph.nodes)[:3] == [held, new, x]


def test_what_is_inserted_is_called_by_its_source_and_the_name_of_what_is_called(graph: fx.Graph) -> None:
    x, relu, *_ = graph.nodes
    assert insert_after(relu, "call_function", torch.abs, (relu,)).name == "relu_abs"
    assert insert_after(relu, "call_function", torch.abs, (x,), like=x).name == "x_abs"
    assert insert_after(relu, "call_function", functools.partial(torch.abs), (x,)).name == "relu_call"


def test_what_is_inserted_gets_its_arguments(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    new = insert_after(relu, "call_function", torch.sum, (relu, 0), {"keepdim": True})
    assert (new.args, new.kwargs) == ((relu, 0), {"keepdim": True})


def test_what_replaces_a_call_gets_its_arguments(graph: fx.Graph) -> None:
    relu = relu_of(graph)
    new = replace_call(relu, "call_function", torch.clamp, relu.args, {"min": 0})
    assert (new.args, new.kwargs) == ((next(iter(graph.nodes)),), {"min": 0})
