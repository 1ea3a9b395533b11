"""Passes that are right: no law may find fault with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from fxpasses.graph.serialize import copy_graph
from fxpasses.manager import PassResult

RIGHT: dict[str, Callable[[fx.GraphModule], Any]] = {}


def _right(pass_: Any) -> Any:
    RIGHT[pass_.__name__] = pass_
    return pass_


@_right
def do_nothing(graph_module: fx.GraphModule) -> None:
    del graph_module


@_right
def say_that_nothing_changed(graph_module: fx.GraphModule) -> PassResult:
    return PassResult(graph_module, False)


@_right
def copy_the_graph(graph_module: fx.GraphModule) -> PassResult:
    """Functional: another graph module with the same modules and an equal graph."""
    copied = fx.GraphModule(graph_module, copy_graph(graph_module.graph))
    copied.training = graph_module.training
    return PassResult(copied, False)


@_right
def spell_relu_as_a_function(graph_module: fx.GraphModule) -> PassResult:
    modified = False
    for node in graph_module.graph.nodes:
        if node.op == "call_method" and node.target == "relu":
            node.op, node.target, modified = "call_function", torch.relu, True
    return PassResult(graph_module, modified)


@_right
def remove_dead_reads(graph_module: fx.GraphModule) -> PassResult:
    """Removes what is certain to be pure: sizes, and attributes that are only read."""
    modified = False
    for node in reversed(list(graph_module.graph.nodes)):
        if not node.users and (node.op == "get_attr" or (node.op == "call_method" and node.target == "size")):
            graph_module.graph.erase_node(node)
            modified = True
    return PassResult(graph_module, modified)


@_right
def name_arguments_of_softmax(graph_module: fx.GraphModule) -> PassResult:
    modified = False
    for node in graph_module.graph.nodes:
        if node.op == "call_method" and node.target == "softmax" and len(node.args) == 2:
            node.kwargs, node.args, modified = {**node.kwargs, "dim": node.args[1]}, node.args[:1], True
    return PassResult(graph_module, modified)
