"""Typed access to what fxpasses writes on nodes and graph modules.

Qualified names live in `node.meta["custom"]["fxpasses"]`, and hold JSON values only: of the keys that a
user may add, `custom` alone survives `fx.Transformer`, `torch.export` and its save and load. The record of
a capture lives in `graph_module.meta["fxpasses"]`. No other module touches either key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import fx

from fxpasses.graph.calls import CaptureRecord

_KEY = "fxpasses"


def qualified_name(node: fx.Node) -> str | None:
    """Returns the qualified name that a naming pass gave to `node`, or None.

    Example:
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> qualified_name(x) is None
        True
        >>> set_name(x, "x", "exact")
        >>> qualified_name(x)
        'x'
    """
    custom: Mapping[str, Any] | None = node.meta.get("custom")
    entries = custom.get(_KEY) if custom else None
    return entries.get("name") if entries else None


def name_and_style(node: fx.Node) -> tuple[str | None, str | None]:
    """Returns the qualified name of `node` and the style in which it was given, or None for either."""
    if "custom" not in node.meta:
        return None, None
    entries = _node_entries(node)
    return entries.get("name"), entries.get("style")


def set_name(node: fx.Node, name: str, style: str) -> None:
    """Gives `node` its qualified name.

    Copies of a graph share the dictionaries inside `node.meta`, so they are replaced, never written into.
    """
    custom: Mapping[str, Any] | None = node.meta.get("custom")
    if custom:
        node.meta["custom"] = {**custom, _KEY: {**_node_entries(node), "name": name, "style": style}}
    else:
        node.meta["custom"] = {_KEY: {"name": name, "style": style}}


def without_name(custom: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `node.meta["custom"]` holds, but for the qualified name: that belongs to one value.

    Example:
        >>> without_name({"cost": 3, "fxpasses": {"name": "layer1"}})
        {'cost': 3}
    """
    return {key: entry for key, entry in custom.items() if key != _KEY}


def _node_entries(node: fx.Node) -> Mapping[str, Any]:
    custom = cast("Mapping[str, Any]", node.meta.get("custom") or {})
    return cast("Mapping[str, Any]", custom.get(_KEY) or {})


class Scope(NamedTuple):
    """The module call in which a node was recorded: `key` is `path`, or `path@k` for the k-th further call."""

    key: str
    path: str


def scopes(node: fx.Node) -> tuple[Scope, ...]:
    """Returns the module calls around `node`, outermost first, from its `nn_module_stack`.

    The root module's own call is left out. A leaf's `call_module` node has the leaf's call as the last one.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU()))
        >>> [scope.path for scope in scopes(list(fx.symbolic_trace(model).graph.nodes)[1])]
        ['0', '0.0']
    """
    stack = cast("Mapping[str, tuple[str, Any]]", node.meta.get("nn_module_stack") or {})
    return tuple(Scope(key, entry[0]) for key, entry in stack.items() if entry[0])


def parent_path(node: fx.Node) -> str:
    """Returns the path of the module whose forward made `node`; empty for the root, the leaf's own for a leaf's call."""
    stack = node.meta.get("nn_module_stack")
    return stack[next(reversed(stack))][0] if stack else ""


def capture_record(graph_module: fx.GraphModule) -> CaptureRecord | None:
    """Returns what the capture of `graph_module` recorded, or None for a graph from elsewhere."""
    return cast("CaptureRecord | None", graph_module.meta.get(_KEY))


def set_capture_record(graph_module: fx.GraphModule, record: CaptureRecord | None) -> None:
    """Replaces the record of a capture; None removes it, and with it the reference to the model."""
    if record is None:
        graph_module.meta.pop(_KEY, None)
    else:
        graph_module.meta[_KEY] = record
