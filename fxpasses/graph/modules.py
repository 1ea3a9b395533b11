"""Module trees that hold just what a graph refers to."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_
from typing import Any, cast

import torch
from torch import fx, nn

from fxpasses.graph.module_tree import ModuleTree
from fxpasses.graph.reachable import is_out_of_reach


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


def submodule(root: nn.Module, path: str) -> nn.Module:
    """Returns the module at `path` below `root`, as `nn.Module.get_submodule` does, with less work for each step.

    Example:
        >>> submodule(nn.Sequential(nn.Sequential(nn.ReLU())), "0.0")
        ReLU()
    """
    module = root
    for name in path.split("."):
        children = module._modules
        if children.get(name) is None:
            return root.get_submodule(path)  # it knows what else there may be, and what to say if there is nothing
        module = cast("nn.Module", children[name])
    return module


def copy_targets(root: nn.Module, into: nn.Module, graph: fx.Graph) -> None:
    """Makes every target of `graph` that exists in `root` reachable from `into`, by reference.

    Args:
        root: Where the targets are looked up; a path that does not exist there is left out.
        into: Changed in place. Containers on the way are made fresh, never shared with `root`.
        graph: Whose nodes to look at; the order of their first use becomes the order of children.
    """
    places: dict[str, _Place | None] = {"": (root, into)}
    for path in dict.fromkeys(targets(graph)):
        _install(path, places)


def install(root: nn.Module, into: nn.Module, path: str) -> None:
    """Makes what `path` refers to below `root` reachable from `into` by the same path, by reference."""
    _install(path, {"": (root, into)})


_Place = tuple[nn.Module, nn.Module]
"""A container of the source, and the one that stands for it in the destination."""


def _install(path: str, places: dict[str, _Place | None]) -> None:
    container, _, name = path.rpartition(".")
    place = _place_of(container, places)
    if place is None:
        return
    source, destination = place
    if name in source._modules:
        destination._modules[name] = source._modules[name]
    elif name in source._buffers:
        destination._buffers[name] = source._buffers[name]
        destination._non_persistent_buffers_set.update({name} & source._non_persistent_buffers_set)
    elif name in source._parameters:
        destination._parameters[name] = source._parameters[name]
    elif hasattr(source, name):
        _install_attribute(getattr(source, name), destination, name)


def _install_attribute(value: object, destination: nn.Module, name: str) -> None:
    """Sets a plain attribute; a tensor whose name is no good there becomes an entry, which can get another name."""
    if not isinstance(value, torch.Tensor) or not is_out_of_reach(destination, name):
        setattr(destination, name, value)
        return
    destination._buffers[name] = value
    destination._non_persistent_buffers_set.add(name)


def _place_of(path: str, places: dict[str, _Place | None]) -> _Place | None:
    """Returns where the container at `path` is and what stands for it, made when it is first asked for.

    None means that there is no such container, or that an enclosing module was placed whole and holds it.
    """
    if path not in places:
        outer_path, _, name = path.rpartition(".")
        outer = _place_of(outer_path, places)
        places[path] = None if outer is None else _inner_place(outer, name)
    return places[path]


def _inner_place(outer: _Place, name: str) -> _Place | None:
    source, destination = outer
    inner = source._modules[name] if name in source._modules else getattr(source, name, None)
    placed = destination._modules.get(name)
    if not isinstance(inner, nn.Module) or placed is inner:
        return None
    if placed is None:
        placed = destination._modules[name] = nn.Module()
        placed.training = inner.training
    return inner, placed


def drop_unused(graph_module: fx.GraphModule) -> int:
    """Removes from `graph_module` each module, parameter and buffer that its graph does not refer to.

    A container that loses something is replaced by one that has the rest, so that a container which is shared with a
    model keeps its content; one that is needed as it is stays.

    Returns:
        How many parameters and buffers went, counted once each.
    """
    removed = _tensors(graph_module)
    paths = dict.fromkeys(targets(graph_module.graph))
    wanted: dict[str, set[str]] = {"": set()}
    for path in paths:
        _want(path, wanted)
    for path in paths:
        wanted.pop(path, None)  # a module that is needed whole, with all that is below it
    for entries, kept in zip(_entries(graph_module), _kept_entries(graph_module, "", wanted), strict=True):
        entries.clear()
        entries.update(kept)
    graph_module._non_persistent_buffers_set &= graph_module._buffers.keys()
    return len(removed - _tensors(graph_module))


def _want(path: str, wanted: dict[str, set[str]]) -> None:
    """Adds a path, and the containers on the way to it, to what is wanted of each container."""
    while path:
        container, _, name = path.rpartition(".")
        is_known = container in wanted
        wanted.setdefault(container, set()).add(name)
        if is_known:
            return
        path = container


def _entries(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return module._modules, module._parameters, module._buffers


def _kept_entries(module: nn.Module, path: str, wanted: dict[str, set[str]]) -> tuple[dict[str, Any], ...]:
    names = wanted[path]
    modules, parameters, buffers = (
        {name: entries[name] for name in entries if name in names} for entries in _entries(module)
    )
    prefix = f"{path}." if path else ""
    modules = {name: _with_wanted(child, prefix + name, wanted) for name, child in modules.items()}
    return modules, parameters, buffers


def _with_wanted(module: nn.Module | None, path: str, wanted: dict[str, set[str]]) -> nn.Module | None:
    if module is None or path not in wanted:
        return module
    kept = _kept_entries(module, path, wanted)
    if all(map(_is_same, kept, _entries(module))):
        return module
    fresh = nn.Module()
    fresh.training = module.training
    for entries, content in zip(_entries(fresh), kept, strict=True):
        entries.update(content)
    fresh._non_persistent_buffers_set.update(module._non_persistent_buffers_set & fresh._buffers.keys())
    for name in wanted[path]:
        if not hasattr(fresh, name) and hasattr(module, name):
            setattr(fresh, name, getattr(module, name))
    return fresh


def _is_same(kept: dict[str, Any], entries: dict[str, Any]) -> bool:
    return len(kept) == len(entries) and all(map(is_, kept.values(), entries.values()))


def _tensors(module: nn.Module) -> set[int]:
    found: set[int] = set()
    for each in ModuleTree.of(module).paths:
        for owned in (each._parameters, each._buffers):
            if owned:
                found.update(map(id, owned.values()))
    return found - {id(None)}
