"""`MetaState`: the meta of every node at one moment, and what is different at another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import fx

from fxpasses.graph.change import same_value
from fxpasses.graph.state import GraphState

Meta = dict[str, Any]


class MetaChange(NamedTuple):
    """What happened to the meta of one node.

    Attributes:
        lost: Keys that it no longer has.
        gained: Keys that are new.
        edited: Keys whose value is another.
    """

    lost: tuple[str, ...]
    gained: tuple[str, ...]
    edited: tuple[str, ...]


@dataclass(frozen=True)
class MetaState:
    """The meta of the nodes of a graph module at one moment, with copies of the containers inside.

    Attributes:
        state: The structure at that moment.
        metas: The meta of each node of the graph module's own graph, in order.
    """

    state: GraphState
    metas: list[Meta]

    @classmethod
    def of(cls, state: GraphState) -> MetaState:
        """Copies the meta as it is now; `state` is the structure as it is now."""
        copies: dict[int, tuple[object, object]] = {}
        return cls(state, [_copied(node.meta, copies) if node.meta else {} for node in state.columns.nodes])

    def by_key(self, by_name: bool) -> dict[object, tuple[fx.Node, Meta]]:
        """Returns each node with its meta: by the name that it had, or by itself."""
        columns = self.state.columns
        keys = columns.name if by_name else columns.nodes
        return dict(zip(keys, zip(columns.nodes, self.metas, strict=True), strict=True))


def compare_meta(before: MetaState, after: MetaState) -> dict[fx.Node, MetaChange]:
    """Returns what happened to the meta of the nodes that both have, for those where something did.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> state = GraphState.of(graph_module)
        >>> before = MetaState.of(state)
        >>> list(graph_module.graph.nodes)[1].meta["cost"] = 3
        >>> compare_meta(before, MetaState.of(state))
        {add: MetaChange(lost=(), gained=('cost',), edited=())}
    """
    by_name = before.state.columns.graph is not after.state.columns.graph
    old = before.by_key(by_name)
    changes: dict[fx.Node, MetaChange] = {}
    for key, (node, new) in after.by_key(by_name).items():
        if key in old and (change := _change(old[key][1], new)):
            changes[node] = change
    return changes


def _change(old: Meta, new: Meta) -> MetaChange | None:
    if not old and not new:
        return None
    lost = tuple(key for key in old if key not in new)
    gained = tuple(key for key in new if key not in old)
    edited = tuple(key for key in new if key in old and not same_value(old[key], new[key], _is_same))
    return MetaChange(lost, gained, edited) if lost or gained or edited else None


def _is_same(before: fx.Node, after: fx.Node) -> bool:
    """Whether another node stands for the same one in another graph."""
    return before.graph is not after.graph and before.name == after.name


def _copied(value: Any, copies: dict[int, tuple[object, object]]) -> Any:
    """Copies dicts and lists as deep as they are nested, each once; everything else is kept by reference."""
    if not isinstance(value, (dict, list)):
        return value
    if id(value) in copies:
        return copies[id(value)][1]
    copy: Any = {} if isinstance(value, dict) else []
    copies[id(value)] = (value, copy)
    if isinstance(value, dict):
        copy.update((key, _copied(item, copies)) for key, item in cast("dict[Any, Any]", value).items())
    else:
        copy.extend(_copied(item, copies) for item in cast("list[Any]", value))
    return copy


def shared_keys(metas: list[Meta]) -> Iterator[str]:
    """Yields the keys that all of several metas have, in the order of the first."""
    for key in metas[0] if metas else ():
        if all(key in meta for meta in metas):
            yield key
