"""When the effects of a graph are found out anew."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.nn import functional

from fxpasses.graph.analyses import effects_of, shared_analyses


def _graph_module() -> fx.GraphModule:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        return torch.relu(y)

    return fx.symbolic_trace(model)


def test_another_output_leaves_the_effects_as_they_are() -> None:
    graph_module = _graph_module()
    _, add, _, output = graph_module.graph.nodes
    with shared_analyses():
        before = effects_of(graph_module)
        output.args = (add,)
        assert effects_of(graph_module) is before


def test_a_changed_node_has_other_effects() -> None:
    graph_module = _graph_module()
    _, add, relu, _ = graph_module.graph.nodes
    with shared_analyses():
        assert not effects_of(graph_module).may_write(relu, add)
        relu.target = torch.relu_
        assert effects_of(graph_module).may_write(relu, add)


def test_each_mode_has_effects_of_its_own() -> None:
    graph_module = fx.symbolic_trace(torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
    with shared_analyses():
        assert effects_of(graph_module, training=True).writes
        assert not effects_of(graph_module, training=False).writes


def test_fewer_nodes_have_the_effects_that_they_had() -> None:
    graph_module = _graph_module()
    _, add, relu, output = graph_module.graph.nodes
    with shared_analyses():
        before = effects_of(graph_module)
        output.args = (add,)
        graph_module.graph.erase_node(relu)
        assert effects_of(graph_module) is before


def test_without_what_put_a_tensor_into_a_list_a_write_into_an_item_is_none_into_the_tensor() -> None:
    graph = fx.Graph()
    values, x = graph.placeholder("values"), graph.placeholder("x")
    y = graph.call_method("clone", (x,))
    put = graph.call_function(operator.setitem, (values, 0, y))
    written = graph.call_method("add_", (graph.call_function(operator.getitem, (values, 0)), 1))
    graph.output((y, written))
    graph_module = fx.GraphModule(torch.nn.Module(), graph)
    with shared_analyses():
        before = effects_of(graph_module)
        assert before.may_write(written, y)
        assert effects_of(graph_module) is before
        graph.erase_node(put)
        assert not effects_of(graph_module).may_write(written, y)


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [("args", (False,), (True,)), ("kwargs", {"inplace": False}, {"inplace": True})],
    ids=["by position", "by keyword"],
)
def test_a_call_that_is_given_something_else_has_other_effects(field: str, before: Any, after: Any) -> None:
    graph = fx.Graph()
    y = graph.call_method("clone", (graph.placeholder("x"),))
    positions = field == "args"

    def arguments(more: Any) -> Any:
        return (y, *more) if positions else {"input": y, **more}

    relu = graph.call_function(functional.relu, **{field: arguments(before)})
    graph.output(relu)
    graph_module = fx.GraphModule(torch.nn.Module(), graph)
    with shared_analyses():
        assert not effects_of(graph_module).may_write(relu, y)
        setattr(relu, field, arguments(after))
        assert effects_of(graph_module).may_write(relu, y)
