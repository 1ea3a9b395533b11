"""Graph modules as text: what is equal in two of them if and only if they are the same program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree


def program_of(graph_module: fx.GraphModule, *, own_names: bool = True) -> list[str]:
    """The graph, node by node, with everything that decides what it computes but the values of its tensors.

    Args:
        graph_module: The graph, and those of the graph modules in it.
        own_names: Whether nodes go by their own names; otherwise by their places, as names decide nothing.

    Example:
        >>> program_of(fx.symbolic_trace(lambda x: x + 1))[1]
        'add = call_function add(%x, 1) None'
        >>> program_of(fx.symbolic_trace(lambda x: x + 1), own_names=False)[1]
        '1 = call_function add(%0, 1) None'
    """
    lines: list[str] = []
    for path, owner in graph_module.named_modules():
        if isinstance(owner, fx.GraphModule):
            called = {node: node.name if own_names else str(place) for place, node in enumerate(owner.graph.nodes)}
            lines += [f"{path}: {_line(node, called)}" if path else _line(node, called) for node in called]
    return lines


def _line(node: fx.Node, called: Mapping[fx.Node, str]) -> str:
    arguments = [_spell(argument, called) for argument in node.args]
    arguments += [f"{name}={_spell(value, called)}" for name, value in node.kwargs.items()]
    return f"{called[node]} = {node.op} {_target(node.target)}({', '.join(arguments)}) {node.type}"


def _target(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)


def _spell(value: Any, called: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return f"%{called.get(value, value.name)}"
    if isinstance(value, torch.Tensor):
        return _digest(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_spell(item, called)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__[-5:]}[{', '.join(_spell(item, called) for item in value)}]"
    if isinstance(value, slice):
        return f"slice({', '.join(_spell(part, called) for part in (value.start, value.stop, value.step))})"
    return repr(value)


def _digest(tensor: torch.Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    raw = bytes(values.reshape(-1).view(torch.uint8).tolist()) if values.numel() else b""
    return f"{values.dtype}{list(values.shape)}#{hashlib.sha256(raw).hexdigest()[:12]}"


def modules_of(module: nn.Module) -> list[str]:
    """The modules that a module has, by path: class, options, mode, hooks, and the digests of their own tensors."""
    lines: list[str] = []
    for path, each in module.named_modules(remove_duplicate=False):
        own = {**each._parameters, **each._buffers}
        tensors = {name: _digest(tensor) for name, tensor in own.items() if tensor is not None}
        hooks = [len(each._forward_hooks), len(each._forward_pre_hooks), len(each._backward_hooks)]
        options = "" if isinstance(each, fx.GraphModule) else each.extra_repr()
        lines.append(f"{path}: {type(each).__name__}({options}) {each.training} {hooks} {tensors}")
    return lines


def attributes_of(module: nn.Module) -> dict[str, list[str]]:
    """The names of each module's attributes, by path."""
    ignored = (
        "_graph",
        "_code",
        "_lineno_map",
        "_prologue_start",
        "_tracer_cls",
        "_tracer_extras",
        "_forward_on_demand",
    )
    return {
        path: sorted(name for name in each.__dict__ if name not in ignored)
        for path, each in module.named_modules(remove_duplicate=False)
    }


def meta_of(graph_module: fx.GraphModule) -> list[str]:
    """The meta of each node, shortened."""
    return [
        f"{node.name}: { {key: _meta(value) for key, value in node.meta.items()} }" for node in graph_module.graph.nodes
    ]


def _meta(value: Any) -> str:
    if any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value)):
        return str([type(leaf).__name__ for leaf in pytree.tree_leaves(value)])
    return repr(value)[:500]


def first_line_that_differs(actual: list[str], expected: list[str]) -> str | None:
    """Says which line of a text differs from the expected one, or returns None.

    Example:
        >>> first_line_that_differs(["a", "c"], ["a", "b"])
        "'c' instead of 'b'"
    """
    for one, other in zip(actual, expected, strict=False):
        if one != other:
            return f"{one!r} instead of {other!r}"
    if len(actual) != len(expected):
        longer, word = (actual, "more") if len(actual) > len(expected) else (expected, "less")
        return f"one line {word}: {longer[min(len(actual), len(expected))]!r}"
    return None
