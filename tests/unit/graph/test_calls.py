from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from support.examples import Pair
from torch import fx

from fxpasses.graph.calls import CaptureRecord, Loss, ModuleCall, NodeRef, call_key, leaves, map_structure, with_nodes


def test_a_structure_keeps_its_form() -> None:
    value = {"a": (1, [2, Pair(3, 4)]), "b": slice(5, 6, None), "c": OrderedDict(d=7)}  # pyright: ignore
    doubled = map_structure(value, lambda leaf: leaf * 2 if isinstance(leaf, int) else leaf)
    assert doubled == {"a": (2, [4, Pair(6, 8)]), "b": slice(10, 12, None), "c": {"d": 14}}  # pyright: ignore
    assert list(leaves(value)) == [1, 2, 3, 4, 5, 6, None, 7]


def test_references_become_nodes() -> None:
    graph = fx.symbolic_trace(lambda x: torch.relu(x)).graph
    nodes = {node.name: node for node in graph.nodes}
    assert with_nodes((NodeRef("x"), {"y": NodeRef("relu")}, 3), nodes) == (nodes["x"], {"y": nodes["relu"]}, 3)
    with pytest.raises(KeyError):
        with_nodes(NodeRef("gone"), nodes)


def test_the_key_of_a_call() -> None:
    assert [call_key("a.b", index) for index in range(3)] == ["a.b", "a.b@1", "a.b@2"]
    assert ModuleCall("a", 2, torch.nn.Module, (), {}, None).key == "a@2"


def test_a_loss_says_where_it_is_if_anybody_knows() -> None:
    assert str(Loss("a", "Linear", "has a hook")) == "module 'a' (Linear) has a hook"
    assert str(Loss("", "Net", "has a hook", "net.py:3")) == "the model (Net) has a hook (net.py:3)"


def test_unless_a_capture_says_more_the_mode_of_the_whole_model_may_matter() -> None:
    assert CaptureRecord(torch.nn.Identity(), training=False).mode_readers == ("",)
