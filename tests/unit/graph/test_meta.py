from __future__ import annotations

import json

import torch
from support import examples
from torch import fx

from fxpasses.capture import capture_symbolic
from fxpasses.graph.meta import (
    capture_record,
    name_and_style,
    parent_path,
    qualified_name,
    scopes,
    set_capture_record,
    set_name,
)
from fxpasses.graph.regions import escaping, module_calls, regions


def _first_node() -> fx.Node:
    return next(iter(fx.symbolic_trace(lambda x: torch.relu(x)).graph.nodes))


def test_a_name_is_kept_with_its_style_beside_other_entries() -> None:
    node = _first_node()
    node.meta["custom"] = {"theirs": 1}
    set_name(node, "a.b", "exact")
    assert name_and_style(node) == ("a.b", "exact")
    assert node.meta["custom"]["theirs"] == 1
    assert json.loads(json.dumps(node.meta["custom"])) == node.meta["custom"]


def test_naming_a_copy_does_not_name_the_original() -> None:
    node = _first_node()
    set_name(node, "before", "exact")
    copied = fx.Graph().node_copy(node)
    set_name(copied, "after", "exact")
    assert qualified_name(node) == "before"


def test_scopes_leave_the_root_out() -> None:
    graph = capture_symbolic(examples.CalledTwice()).graph
    keys = [[scope.key for scope in scopes(node)] for node in graph.nodes if node.op == "call_module"]
    assert keys == [
        ["block", "block.first"], ["block", "block.second"], ["leaf"],
        ["block@1", "block.first@1"], ["block@1", "block.second@1"], ["leaf@1"],
    ]  # fmt: skip


def test_the_record_can_be_taken_off() -> None:
    captured = capture_symbolic(examples.Stacked())
    assert capture_record(captured) is not None
    set_capture_record(captured, None)
    set_capture_record(captured, None)
    assert capture_record(captured) is None


def test_regions_hold_what_was_made_inside() -> None:
    graph = capture_symbolic(examples.CalledTwice()).graph
    found = regions(graph)
    assert [node.name for node in found["block"]] == [node.name for node in list(graph.nodes)[1:6]]
    assert [node.name for node in escaping(found["block"])] == [found["block"][-1].name]


def test_calls_can_be_rebuilt_from_a_graph_of_another_tracer() -> None:
    calls = module_calls(fx.symbolic_trace(examples.Stacked()))
    assert [call.path for call in calls] == ["blocks", "blocks.0", "blocks.1"]
    ours = [call for call in module_calls(capture_symbolic(examples.Stacked())) if call.path]
    assert [(call.path, call.parent or "", call.output) for call in calls] == [
        (call.path, call.parent or "", call.output) for call in ours
    ]


def test_a_node_whose_custom_meta_is_none_has_no_name() -> None:
    node = _first_node()
    node.meta["custom"] = None
    assert qualified_name(node) is None
    assert name_and_style(node) == (None, None)
    set_name(node, "a.b", "exact")
    assert name_and_style(node) == ("a.b", "exact")


def test_scopes_leave_the_root_out_also_where_the_stack_begins_with_it() -> None:
    node = _first_node()
    node.meta["nn_module_stack"] = {"": ("", torch.nn.Sequential), "0": ("0", torch.nn.ReLU)}
    assert [scope.path for scope in scopes(node)] == ["0"]
    assert parent_path(node) == "0"
