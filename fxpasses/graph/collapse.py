"""Rewrites the nodes of module calls into one `call_module` node each."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from torch import fx, nn

from fxpasses.errors import CollapseError
from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque, leaves, map_structure
from fxpasses.graph.meta import scopes, set_name
from fxpasses.graph.modules import attribute, install
from fxpasses.graph.reachable import reachable_path
from fxpasses.graph.regions import regions


class CallCollapser:
    """Collapses calls of one graph module, in place; the tables are built once for all of them.

    Args:
        graph_module: Its graph is rewritten, and the original modules are installed in it.
        calls: All calls of the graph, in the order in which they began.
        chosen: Those of them that are collapsed; none is inside of another.
        kept: Those of them that stay calls of traced-through modules.
        root: Where the original modules are found; None if nobody knows.
    """

    def __init__(
        self,
        graph_module: fx.GraphModule,
        calls: tuple[ModuleCall, ...],
        chosen: tuple[ModuleCall, ...],
        kept: tuple[ModuleCall, ...],
        root: nn.Module | None,
    ) -> None:
        self._graph_module = graph_module
        self._graph = graph_module.graph
        self._root = root
        self._by_key = {call.key: call for call in calls}
        self._regions = {key: dict.fromkeys(nodes) for key, nodes in regions(self._graph).items()}
        self._nodes = {node.name: node for node in self._graph.nodes}
        self._position = {node: index for index, node in enumerate(self._graph.nodes)}
        self._named_by: dict[str, set[str]] = {}
        for call in (*chosen, *kept):
            for part in leaves((call.args, call.kwargs, call.output)):
                if isinstance(part, NodeRef):
                    self._named_by.setdefault(part.name, set()).add(call.key)
        self._order = {call.key: index for index, call in enumerate(calls)}
        self._end = _ends(calls, self._order)
        self._renamed: dict[str, NodeRef] = {}
        self._passed_through: dict[str, list[tuple[int, fx.Node]]] = {}
        self._put_after: dict[str | None, list[tuple[int, fx.Node]]] = {}
        self._made_into: dict[str, fx.Node] = {}
        self._collapsed: set[fx.Node] = set()
        self._parts: set[fx.Node] = set()

    def check(self, call: ModuleCall) -> None:
        """Raises `CollapseError` if `call` cannot become one node; changes nothing."""
        where = f"{call.module_type.__name__} at {call.path!r} cannot become a leaf"
        if self._root is None or not isinstance(attribute(self._root, call.path), nn.Module):
            raise CollapseError(
                f"{where}: the graph module does not hold the original module. "
                "Capture with fxpasses.capture_symbolic, or pass CollapseLeaves(leaves, root=model)."
            )
        for part in leaves((call.args, call.kwargs, call.output)):
            if isinstance(part, Opaque):
                raise CollapseError(f"{where}: one of its values is no value of a graph: {part.description}.")
        inside = set(self._made_by(call))
        known = {part.name for part in leaves((call.args, call.kwargs, call.output)) if isinstance(part, NodeRef)}
        for node in inside:
            user = next((user for user in node.users if user not in inside), None)
            if user is not None and node.name not in known:
                raise CollapseError(
                    f"{where}: its inner value {node.name!r} is used outside of it, by {user.name!r}. "
                    "Only what a module returns can be used when it is one node."
                )

    def collapse(self, call: ModuleCall) -> None:
        """Puts one node in the place of all that `call` made."""
        made = self._without_arguments(call, self._made_by(call))
        start = self._start(call, made)
        install(cast("nn.Module", self._root), self._graph_module, call.path)
        target = reachable_path(self._graph_module, call.path)
        args, kwargs = (map_structure(part, self._node_at(self._order[call.key])) for part in (call.args, call.kwargs))
        with self._graph.inserting_before(start):
            node = self._graph.call_module(target, cast("tuple[Any, ...]", args), cast("dict[str, Any]", kwargs))
        node.meta["nn_module_stack"] = self._stack(call)
        if call.name is not None:
            set_name(node, call.name, "exact")
        self._nodes[node.name] = node
        self._collapsed.add(node)
        self._position[node] = self._position.get(start, len(self._position))
        if not made:
            self._put_after.setdefault(_name(call.after), []).append((self._order[call.key], node))
        self._redirect(call, node, set(made))
        self._erase(call, made, node)

    def updated(self, call: ModuleCall) -> Mapping[str, Any]:
        """Returns the fields of `call` that hold nodes, with what now stands for each node."""
        begin, end = self._order[call.key], self._end[call.key] + 1
        fields = {"args": (call.args, begin), "kwargs": (call.kwargs, begin), "output": (call.output, end)}
        current = {name: map_structure(value, self._node_at(time)) for name, (value, time) in fields.items()}
        for name, reference, time in (("after", call.after, begin), ("until", call.until, end)):
            last = self._last_before(reference, time)
            current[name] = self._last_part(last) if last in self._collapsed else last
        return {name: map_structure(value, _reference) for name, value in current.items()}

    def _made_by(self, call: ModuleCall) -> list[fx.Node]:
        return [node for node in self._regions.get(call.key, ()) if node.op != "get_attr"]

    def _without_arguments(self, call: ModuleCall, made: list[fx.Node]) -> list[fx.Node]:
        """Moves values that the caller passed but that were recorded inside (as in `block(x.shape)`) out of `made`.

        A trace with leaves records them inside as well, so their stack stays.
        """
        received = {part.name for part in leaves((call.args, call.kwargs)) if isinstance(part, NodeRef)}
        for node in [node for node in made if node.name in received]:
            made[0].prepend(node)
            node.meta["nn_module_stack"] = self._stack(call)
        return [node for node in made if node.name not in received]

    def _start(self, call: ModuleCall, made: list[fx.Node]) -> fx.Node:
        if made:
            return made[0]
        before = self._last_before(call.after, self._order[call.key])
        return next(iter(self._graph.nodes)) if before is None else self._last_part(before).next

    def _current(self, reference: NodeRef) -> fx.Node:
        while reference.name in self._renamed:
            reference = self._renamed[reference.name]
        return self._nodes[reference.name]

    def _last_before(self, reference: NodeRef | None, time: int) -> fx.Node | None:
        """Returns what was the graph's last node when the `time`-th call began, if that was `reference`.

        It is the node itself, the collapsed call that it became part of, or one that made no node and came after it.
        """
        earlier = [new for order, new in self._put_after.get(_name(reference), ()) if order < time]
        if earlier or reference is None:
            return earlier[-1] if earlier else None
        return self._made_into.get(reference.name) or self._current(reference)

    def _node_at(self, time: int) -> Callable[[object], object]:
        """Returns what turns a reference into the node that stood for it when the `time`-th call began."""

        def node_of(part: object) -> object:
            if not isinstance(part, NodeRef):
                return part
            node = self._current(part)
            earlier = [new for order, new in self._passed_through.get(part.name, ()) if order < time]
            return earlier[-1] if earlier else node

        return node_of

    def _stack(self, call: ModuleCall) -> dict[str, tuple[str, type[nn.Module]]]:
        chain = [call]
        while chain[-1].parent in self._by_key:
            chain.append(self._by_key[chain[-1].parent])
        return {each.key: (each.path, each.module_type) for each in reversed(chain)}

    def _redirect(self, call: ModuleCall, node: fx.Node, made: set[fx.Node]) -> None:
        """Gives the users of what the call returned the new node, or the part of it that they used."""
        for route, part in _routes(call.output):
            if not isinstance(part, NodeRef):
                continue
            old = cast("fx.Node", self._node_at(self._order[call.key])(part))
            if not old.users and self._named_by[part.name] == {call.key}:
                route = _unpacked(route)
            users = self._later_users(old, node)
            new = self._part(node, route, users)
            if old in made:
                old.replace_all_uses_with(new)
                self._renamed.setdefault(old.name, NodeRef(new.name))
            else:
                for user in users:
                    user.replace_input_with(old, new)
                self._passed_through.setdefault(part.name, []).append((self._order[call.key], new))

    def _part(self, node: fx.Node, route: tuple[Any, ...], users: list[fx.Node]) -> fx.Node:
        """Returns the node that picks one value out of what the call returned, made at most once, for `users`.

        A tuple is unpacked right after the call, an entry of a dict is picked where it is first used: as callers do.
        """
        around = dict(list(node.meta["nn_module_stack"].items())[:-1])
        for depth, key in enumerate(route, 1):
            part = next((user for user in node.users if user.args == (node, key)), None)
            if part is None:
                place = self._first(users) if _is_key(route[:depth]) else None
                with self._graph.inserting_before(place or self._last_part(node).next):
                    part = self._graph.call_function(operator.getitem, (node, key))
                part.meta["nn_module_stack"] = dict(around)
                self._parts.add(part)
                self._nodes[part.name] = part
            node = part
        return node

    def _last_part(self, node: fx.Node) -> fx.Node:
        """Returns the last of the nodes right after a collapsed call that unpack what it returned."""
        while node.next in self._parts:
            node = node.next
        return node

    def _first(self, nodes: Iterable[fx.Node]) -> fx.Node | None:
        return min(nodes, key=lambda node: self._position.get(node, len(self._position)), default=None)

    def _later_users(self, returned: fx.Node, node: fx.Node) -> list[fx.Node]:
        """Returns the users of what a call returned, its own input perhaps, that come after it."""
        start = self._position[node]
        # Collapsed calls came before, as calls are collapsed in the order in which they began.
        return [
            user for user in returned.users if self._position.get(user, -1) >= start and user not in self._collapsed
        ]

    def _erase(self, call: ModuleCall, made: list[fx.Node], collapsed: fx.Node) -> None:
        for node in reversed(made):
            self._graph.erase_node(node)
            self._made_into[node.name] = collapsed
        parameters = [node for node in self._regions.get(call.key, ()) if node.op == "get_attr"]
        for node in parameters:
            # One that was moved out of an earlier call came right after that one.
            self._made_into.setdefault(node.name, collapsed)
            if node.users:
                self._move_to_first_use(node)
            else:
                self._graph.erase_node(node)

    def _move_to_first_use(self, parameter: fx.Node) -> None:
        """Puts a parameter that the region was the first to read where its first remaining reader is."""
        first = cast("fx.Node", self._first(parameter.users))
        first.prepend(parameter)
        around = list((first.meta.get("nn_module_stack") or {}).items())
        # The last entry of a leaf's call is the leaf itself, which is given what was read outside of it.
        parameter.meta["nn_module_stack"] = dict(around[:-1] if first.op == "call_module" else around)
        for scope in scopes(parameter):
            self._regions.setdefault(scope.key, {})[parameter] = None


def _ends(calls: tuple[ModuleCall, ...], order: Mapping[str, int]) -> dict[str, int]:
    """Returns for each call the number of the last call that began while it ran, itself if there was none."""
    ends = dict(order)
    for call in reversed(calls):
        if call.parent in ends:
            ends[call.parent] = max(ends[call.parent], ends[call.key])
    return ends


def _unpacked(route: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the beginning of `route` that a caller follows even if it uses nothing: entries of a tuple."""
    return tuple(itertools.takewhile(lambda key: isinstance(key, int), route))


def _name(reference: NodeRef | None) -> str | None:
    return None if reference is None else reference.name


def _is_key(route: tuple[Any, ...]) -> bool:
    return bool(route) and not isinstance(route[-1], int)


def _reference(part: object) -> object:
    return NodeRef(part.name) if isinstance(part, fx.Node) else part


def _routes(structure: object, route: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], object]]:
    """Yields each leaf of a structure with the keys that lead to it."""
    if isinstance(structure, Mapping):
        items = list(cast("Mapping[Any, object]", structure).items())
    elif isinstance(structure, (tuple, list)):
        items = list(enumerate(cast("tuple[object, ...]", structure)))
    else:
        yield route, structure
        return
    for key, value in items:
        yield from _routes(value, (*route, key))
