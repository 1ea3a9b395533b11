"""Module trees that hold just what a graph refers to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx, nn


def targets(graph: fx.Graph) -> Iterator[str]:
    """Yields the path of each module, parameter, buffer or attribute that a node of `graph` refers to, in order."""
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            yield str(node.target)


def attribute(root: nn.Module, path: str) -> object:
    """Returns what `path` refers to below `root`, or None.

    Example:
        >>> attribute(nn.Sequential(nn.ReLU()), "0.inplace"), attribute(nn.ReLU(), "a.b")
        (False, None)
    """
    value: object = root
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def copy_targets(root: nn.Module, into: nn.Module, graph: fx.Graph) -> None:
    """Makes every target of `graph` that exists in `root` reachable from `into`, by reference.

    Args:
        root: Where the targets are looked up; a path that does not exist there is left out.
        into: Changed in place. Containers on the way are made fresh, never shared with `root`.
        graph: Whose nodes to look at; the order of their first use becomes the order of children.
    """
    placed: set[str] = set()
    for path in targets(graph):
        if path not in placed:
            placed.add(path)
            install(root, into, path)


def install(root: nn.Module, into: nn.Module, path: str) -> None:
    """Makes what `path` refers to below `root` reachable from `into` by the same path, by reference."""
    *containers, name = path.split(".")
    source: object = root
    destination = into
    for container in containers:
        source = getattr(source, container, None)
        if not isinstance(source, nn.Module):
            return
        if destination._modules.get(container) is source:
            return  # an enclosing module is itself a target, and holds this one
        destination = _child(destination, container, source)
    if hasattr(source, name) and isinstance(source, nn.Module):
        _place(source, destination, name)


def _child(parent: nn.Module, name: str, like: nn.Module) -> nn.Module:
    child = parent._modules.get(name)
    if child is None:
        child = nn.Module()
        child.training = like.training
        parent.add_module(name, child)
    return child


def _place(source: nn.Module, destination: nn.Module, name: str) -> None:
    value = getattr(source, name)
    if isinstance(value, nn.Module):
        destination.add_module(name, value)
    elif name in source._buffers:
        destination.register_buffer(name, value, persistent=name not in source._non_persistent_buffers_set)
    elif isinstance(value, nn.Parameter):
        destination.register_parameter(name, value)
    else:
        setattr(destination, name, value)


def drop_unused(graph_module: fx.GraphModule) -> int:
    """Removes from `graph_module` each module, parameter and buffer that its graph does not refer to.

    The tree is built anew from what is used, so that a container which is shared with a model keeps its content.

    Returns:
        How many parameters and buffers went, counted once each.
    """
    before = _tensors(graph_module)
    kept = nn.Module()
    copy_targets(graph_module, kept, graph_module.graph)
    for entries in ("_modules", "_parameters", "_buffers"):
        mine, new = graph_module.__dict__[entries], kept.__dict__[entries]
        mine.clear()
        mine.update(new)
    graph_module._non_persistent_buffers_set = kept._non_persistent_buffers_set
    return len(before - _tensors(graph_module))


def _tensors(module: nn.Module) -> set[torch.Tensor]:
    return {*module.parameters(), *module.buffers()}
