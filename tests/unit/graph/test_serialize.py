"""What a graph keeps when it is pickled."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import fx

from fxpasses.graph.serialize import FlatGraph, copy_graph


def _pickled(graph: fx.Graph) -> fx.Graph:
    return pickle.loads(pickle.dumps(FlatGraph.of(graph))).graph()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("custom", {"theirs": 1}), ("is_wrapped", True), ("nn_module_stack", {"block": ("block", "models.Block")}),
        ("source_fn_stack", [("relu", "relu")]), ("stack_trace", "in forward"), ("torch_fn", ("relu_1", "relu")),
    ],
)  # fmt: skip
def test_meta_that_can_be_loaded_everywhere_is_kept(key: str, value: Any) -> None:
    graph = fx.symbolic_trace(lambda x: torch.relu(x)).graph
    relu = list(graph.nodes)[1]
    relu.meta = {key: value, "val": torch.ones(1)}
    assert list(_pickled(graph).nodes)[1].meta == {key: value}


@pytest.mark.parametrize(
    "operator",
    [torch.ops.aten.relu.default, torch.ops.aten.relu, torch.ops.higher_order.cond],
    ids=["overload", "packet", "higher order"],
)
def test_an_operator_is_the_same_again(operator: Any) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(operator, (graph.placeholder("x"),)))
    assert list(_pickled(graph).nodes)[1].target is operator


def test_the_code_of_a_copy_says_what_was_traced() -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.relu(x))
    copied = fx.GraphModule(graph_module, copy_graph(graph_module.graph))
    assert "test_serialize.py" in copied.forward.__code__.co_filename
