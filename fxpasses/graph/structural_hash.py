"""`structural_hash`: a digest of what a graph computes and how, the same for every copy of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import fx

from fxpasses.graph.state import GraphColumns, GraphState


def structural_hash(graph: fx.GraphModule | GraphState, *, names: bool = False) -> str:
    """Returns a digest of the structure of a graph module: of its graph, and of the graph modules inside.

    Two graphs have the same digest if they have the same operations in the same order, with the same arguments.
    Names of nodes do not count, nor does meta, nor what parameters hold. The digest of the same graph is the same
    in another process.

    Args:
        graph: The graph module, or a state of it that was recorded earlier.
        names: Whether the names of nodes count, too.

    Example:
        >>> first, second = (fx.symbolic_trace(lambda x: x + 1) for _ in range(2))
        >>> structural_hash(first) == structural_hash(second)
        True
        >>> structural_hash(first) == structural_hash(fx.symbolic_trace(lambda x: 1 + x))
        False
    """
    state = graph if isinstance(graph, GraphState) else GraphState.of(graph)
    digest = hashlib.blake2b(digest_size=16)
    for path, columns in sorted(state.graphs.items()):
        digest.update(f"{path}\n".encode())
        for line in _lines(columns, names):
            digest.update(line.encode())
    return digest.hexdigest()


def _lines(columns: GraphColumns, names: bool) -> list[str]:
    places = {node: f"%{index}" for index, node in enumerate(columns.nodes)}
    targets = dict[int, str]()
    lines: list[str] = []
    for row in columns.rows():
        target = targets.get(id(row.target)) or targets.setdefault(id(row.target), _spell_target(row.target))
        fields = [
            row.op,
            target,
            _spell(row.args, places),
            _spell(row.kwargs, places) if row.kwargs else "",
            str(row.type),
        ]
        lines.append("\t".join([*fields, row.name * names, "\n"]))
    return lines


def _spell_target(target: object) -> str:
    if isinstance(target, str):
        return target
    module, name = getattr(target, "__module__", ""), getattr(target, "__qualname__", None)
    return f"{module}.{name}" if name is not None else str(target)


def _spell(value: object, places: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return places.get(value, "?")
    if isinstance(value, (tuple, list)):
        inner = ",".join([_spell(item, places) for item in cast("list[object]", value)])
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    spell = _SPELLED.get(type(value))
    if spell is not None:
        return spell(value)
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return "{" + ",".join(f"{key!r}:{_spell(item, places)}" for key, item in items) + "}"
    if isinstance(value, slice):
        return "slice" + _spell((value.start, value.stop, value.step), places)
    if isinstance(value, torch.Tensor):
        return _spell_tensor(value)
    return _spell_target(value) if callable(value) else f"{type(value).__name__}:{value}"


_SPELLED: dict[type, Callable[[Any], str]] = {int: str, float: repr, bool: str, str: repr, type(None): str}


def _spell_tensor(value: torch.Tensor) -> str:
    content = hashlib.blake2b(digest_size=8)
    if value.device.type == "cpu" and value.layout is torch.strided:
        content.update(repr(value.detach().flatten().tolist()).encode())
    return f"tensor:{value.dtype}:{tuple(value.shape)}:{content.hexdigest()}"
