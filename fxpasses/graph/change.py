"""`GraphChange`: what is different between two states of a graph module."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress, count, pairwise
from operator import attrgetter, is_, is_not
from typing import Any, cast

import torch
from torch import fx

from fxpasses.graph.state import FIELDS, GraphColumns, GraphState, NodeRow


@dataclass(frozen=True)
class GraphChange:
    """What is different between two states; false when nothing is.

    A node keeps its identity in a graph that is changed in place. Between two graphs, as a functional pass
    makes them, nodes of the same name are taken to be the same.

    Attributes:
        added: Nodes that only the later state has, in order.
        removed: Nodes that only the earlier state has, in order.
        edited: Nodes of the later state, each with the fields of it that differ.
        replaced: Removed nodes, each with the node that now stands where it was used.
        moved: As few nodes as explain why those that both have come in another order.
        modules: Whether modules, parameters or buffers were replaced, added, removed or written.
        other: What else differs, such as the code generator.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: torch.relu(x))
        >>> before = GraphState.of(graph_module)
        >>> list(graph_module.graph.nodes)[1].target = torch.sigmoid
        >>> compare(before, GraphState.of(graph_module)).edited
        {relu: ('target',)}
    """

    added: tuple[fx.Node, ...] = ()
    removed: tuple[fx.Node, ...] = ()
    edited: Mapping[fx.Node, tuple[str, ...]] = field(default_factory=dict[fx.Node, tuple[str, ...]])
    replaced: Mapping[fx.Node, fx.Node] = field(default_factory=dict[fx.Node, fx.Node])
    moved: tuple[fx.Node, ...] = ()
    modules: bool = False
    other: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.edited or self.moved or self.modules or self.other)

    def __str__(self) -> str:
        """Says in one line what differs."""
        parts = [f"added {_names(self.added)}"] * bool(self.added)
        parts += [f"removed {_names(self.removed)}"] * bool(self.removed)
        parts += [f"edited {', '.join(f'{node}.{name}' for name in fields)}" for node, fields in self.edited.items()][
            :5
        ]
        parts += [f"moved {_names(self.moved)}"] * bool(self.moved)
        parts += ["changed modules or tensors"] * self.modules
        return "; ".join([*parts, *self.other]) or "nothing"


def compare(before: GraphState, after: GraphState) -> GraphChange:
    """Returns what differs between two states, in time linear in both."""
    other = tuple(f"graph of {path!r}" for path in sorted(before.graphs.keys() ^ after.graphs.keys()))
    parts = [_compare_graphs(before.graphs[path], after.graphs[path]) for path in before.graphs if path in after.graphs]
    same_module = before.graph_module is after.graph_module
    return GraphChange(
        tuple(node for part in parts for node in part.added),
        tuple(node for part in parts for node in part.removed),
        {node: fields for part in parts for node, fields in part.edited.items()},
        {old: new for part in parts for old, new in part.replaced.items()},
        tuple(node for part in parts for node in part.moved),
        same_module and not before.holds_same_tensors(after),
        other + tuple(text for part in parts for text in part.other),
    )


def _compare_graphs(before: GraphColumns, after: GraphColumns) -> GraphChange:
    by_identity = before.graph is after.graph
    old_rows, new_rows = _suspects(before, after) if by_identity else (before.rows(), after.rows())
    key = attrgetter("node" if by_identity else "name")
    old: dict[object, NodeRow] = {key(row): row for row in old_rows}
    new: dict[object, NodeRow] = {key(row): row for row in new_rows}
    same_node = is_ if by_identity else _same_name(before, after)
    edits = {row.node: _edited(old[each], row, same_node) for each, row in new.items() if each in old}
    removed = {row.node: None for each, row in old.items() if each not in new}
    return GraphChange(
        tuple(row.node for each, row in new.items() if each not in old),
        tuple(removed),
        {node: fields for node, fields in edits.items() if fields},
        dict(_replaced(old, new, removed)),
        _moved(old, new),
        other=() if not by_identity or before.codegen is after.codegen else ("code generator",),
    )


def _suspects(before: GraphColumns, after: GraphColumns) -> tuple[Iterator[NodeRow], Iterator[NodeRow]]:
    """Returns the rows of two states of one graph that may differ, in order; most graphs change in few places.

    Left out are nodes in the part at the beginning, or at the end, that has the same nodes in the same order, unless
    one of their fields is another object.
    """
    start = _common(before.nodes, after.nodes)
    stop = min(_common(before.nodes[::-1], after.nodes[::-1]), len(before.nodes) - start)
    head, tail = _set_anew(before, after, 0, start), _set_anew(before, after, -stop, None) if stop else []
    shift, end = len(after.nodes) - len(before.nodes), len(before.nodes) - stop
    indices = [*head, *range(start, end), *(end + index for index in tail)]
    moved_indices = [*head, *range(start, end + shift), *(end + shift + index for index in tail)]
    return map(before.row, indices), map(after.row, moved_indices)


def _common(first: list[fx.Node], second: list[fx.Node]) -> int:
    """Returns the length of the longest common beginning."""
    same = [*map(is_, first, second), False]
    return same.index(False)


def _set_anew(before: GraphColumns, after: GraphColumns, start: int, stop: int | None) -> list[int]:
    """Returns the indices, from `start` on, where a field is another object; the nodes there are the same."""
    found: set[int] = set()
    for old, new in zip(before.fields, after.fields, strict=True):
        found.update(compress(count(), map(is_not, old[start:stop], new[start:stop])))
    return sorted(found)


def _edited(old: NodeRow, new: NodeRow, same_node: Callable[[fx.Node, fx.Node], bool]) -> tuple[str, ...]:
    return tuple(
        name
        for name, before, after in zip(FIELDS, old[1:], new[1:], strict=True)
        if before is not after and not same_value(before, after, same_node)
    )


def _moved(old: Mapping[object, NodeRow], new: Mapping[object, NodeRow]) -> tuple[fx.Node, ...]:
    """Returns the nodes outside of a longest run of kept nodes that are still in their order."""
    place = {each: index for index, each in enumerate(old)}
    kept = [(place[each], row.node) for each, row in new.items() if each in place]
    if all(first[0] < second[0] for first, second in pairwise(kept)):
        return ()
    ends: list[int] = []  # the smallest place at which a run of each length can end
    lengths: list[int] = []
    for index, _ in kept:
        length = bisect_left(ends, index)
        ends[length : length + 1] = [index]
        lengths.append(length)
    wanted = len(ends) - 1
    moved: list[fx.Node] = []
    for length, (_, node) in zip(reversed(lengths), reversed(kept), strict=True):
        if length == wanted:
            wanted -= 1
        else:
            moved.append(node)
    return tuple(reversed(moved))


def _replaced(
    old: Mapping[object, NodeRow], new: Mapping[object, NodeRow], removed: Mapping[fx.Node, None]
) -> Iterator[tuple[fx.Node, fx.Node]]:
    if not removed:
        return
    for each, row in new.items():
        if each not in old or old[each].args is row.args:
            continue
        for before, after in _aligned((old[each].args, old[each].kwargs), (row.args, row.kwargs)):
            if isinstance(before, fx.Node) and before in removed and isinstance(after, fx.Node):
                yield before, after


def _aligned(before: object, after: object) -> Iterator[tuple[object, object]]:
    """Yields the leaves that two structures have in the same place."""
    if isinstance(before, dict) and isinstance(after, dict):
        left, right = cast("dict[Any, object]", before), cast("dict[Any, object]", after)
        for each in filter(right.__contains__, left):
            yield from _aligned(left[each], right[each])
    elif isinstance(before, (tuple, list)) and isinstance(after, (tuple, list)):
        for pair in zip(cast("list[object]", before), cast("list[object]", after), strict=False):
            yield from _aligned(*pair)
    else:
        yield before, after


def same_value(before: object, after: object, same_node: Callable[[fx.Node, fx.Node], bool]) -> bool:
    """Whether two arguments of nodes are the same: containers by content, tensors by identity, the rest by `==`.

    Numbers are the same if they are written alike: 0.0 and -0.0 are not.

    Example:
        >>> same_value((1, [2.0]), (1, [2.0]), lambda a, b: a is b), same_value(1, True, lambda a, b: a is b)
        (True, False)
    """
    if before is after:
        return True
    if isinstance(before, fx.Node) and isinstance(after, fx.Node):
        return same_node(before, after)
    if type(before) is not type(after) or isinstance(before, torch.Tensor):
        return False
    if isinstance(before, slice):
        return same_value(_parts(before), _parts(cast("slice", after)), same_node)
    if isinstance(before, dict):
        left, right = cast("dict[Any, object]", before), cast("dict[Any, object]", after)
        return list(left) == list(right) and all(same_value(left[each], right[each], same_node) for each in left)
    if isinstance(before, (tuple, list)):
        first, second = cast("list[object]", before), cast("list[object]", after)
        return len(first) == len(second) and all(map(same_value, first, second, [same_node] * len(first)))
    return _equal(before, after)


def _equal(before: object, after: object) -> bool:
    if isinstance(before, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return str(before) == str(after)  # `==` would add a guard
    if isinstance(before, (float, complex)):
        return repr(before) == repr(after)  # -0.0 is not 0.0, and NaN is NaN
    try:
        return bool(before == after)
    except Exception:  # whatever an unknown type's `__eq__` raises: it did not say that they are equal
        return False


def _parts(value: slice) -> tuple[object, object, object]:
    return (value.start, value.stop, value.step)


def _same_name(before: GraphColumns, after: GraphColumns) -> Callable[[fx.Node, fx.Node], bool]:
    old = dict(zip(before.nodes, before.name, strict=True))
    new = dict(zip(after.nodes, after.name, strict=True))
    return lambda left, right: old.get(left, left.name) == new.get(right, right.name)


def _names(nodes: tuple[fx.Node, ...]) -> str:
    return ", ".join(node.name for node in nodes[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
