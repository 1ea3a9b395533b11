"""`NamedValues`: from a qualified name to the value that it stands for in a graph."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator

from torch import fx

from fxpasses.errors import UnselectableValueError
from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque, leaves, with_nodes
from fxpasses.graph.meta import capture_record, qualified_name, scopes
from fxpasses.graph.reachable import module_path
from fxpasses.graph.regions import module_calls


class NamedValues:
    """All values of a named graph that can be asked for.

    A name stands for, in this order: the node of that name; what the module call of that name returned (a tuple, a
    dict and an input that was passed through too); the k-th call of a module, as `path@k`; a parameter or buffer by its
    own path; a module that has several paths, by any of them; and, for a container that is never called itself, such as a
    `ModuleList`, what the last call inside it returned.

    Args:
        graph_module: A graph module whose nodes have been named.
    """

    def __init__(self, graph_module: fx.GraphModule) -> None:
        record = capture_record(graph_module)
        self._aliases = {} if record is None else record.aliases
        self._by_fx_name = {node.name: node for node in graph_module.graph.nodes}
        self._nodes: dict[str, fx.Node] = {}
        self._calls: dict[str, ModuleCall] = {}
        for node in graph_module.graph.nodes:
            name = qualified_name(node)
            if name is not None:
                self._nodes.setdefault(name, node)
        for call in module_calls(graph_module):
            for name in (call.name or call.key, call.key, f"{call.path}@{call.index}"):
                self._calls.setdefault(name, call)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def names(self) -> Iterator[str]:
        """Yields every name, those of nodes first, in graph order."""
        yield from dict.fromkeys([*self._nodes, *self._calls])

    def value(self, name: str) -> object:
        """Returns the nodes that make up the value called `name`: a node, or containers with nodes in them.

        Raises:
            KeyError: Nothing has that name.
            UnselectableValueError: The value is an object that no graph can return, or its nodes were removed.
        """
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found if isinstance(found, fx.Node) else self._returned(name, found)

    def moment(self, name: str) -> fx.Node | None:
        """Returns the node after which the value called `name` is the one that is meant.

        A module may write into a value before it returns it; its name means what it returned. None stands for the
        moment at which the value is made.
        """
        found = self._find(name)
        if isinstance(found, ModuleCall) and found.until is not None:
            return self._by_fx_name.get(found.until.name)
        return None

    def near(self, name: str, count: int = 3) -> list[str]:
        """Returns up to `count` names that resemble `name`, best first."""
        candidates = list(self.names())
        parent, _, last = name.rpartition(".")
        siblings = [each for each in candidates if each.rpartition(".")[0] == parent]
        close = difflib.get_close_matches(name, siblings, count, 0.5)
        close += difflib.get_close_matches(name, candidates, count, 0.6)
        close += [each for each in candidates if each.rpartition(".")[2] == last]
        return list(dict.fromkeys(close))[:count]

    @functools.cached_property
    def _leaf_calls(self) -> dict[str, fx.Node]:
        """The calls of leaves, by `path@k`."""
        found: dict[str, fx.Node] = {}
        for node in self._by_fx_name.values():
            around = scopes(node) if node.op == "call_module" else ()
            if around and around[-1].path == module_path(node):
                found.setdefault(f"{around[-1].path}@{around[-1].key.partition('@')[2] or 0}", node)
        return found

    @functools.cached_property
    def _parameters(self) -> dict[str, fx.Node]:
        """The nodes that read parameters and buffers, by the path of what they read."""
        return {str(node.target): node for node in reversed(self._by_fx_name.values()) if node.op == "get_attr"}

    @functools.cached_property
    def _last_inside(self) -> dict[str, fx.Node | ModuleCall]:
        """The latest of the shallowest results inside each container, by the container's path."""
        leaves_of = [(key.rpartition("@")[0], node) for key, node in self._leaf_calls.items()]
        depths: dict[str, int] = {}
        found: dict[str, fx.Node | ModuleCall] = {}
        for path, value in (*leaves_of, *((call.path, call) for call in self._calls.values())):
            depth = path.count(".")
            container, _, _ = path.rpartition(".")
            while container:
                if depth <= depths.get(container, depth):
                    depths[container], found[container] = depth, value
                container, _, _ = container.rpartition(".")
        return found

    def _find(self, name: str) -> fx.Node | ModuleCall | None:
        found = self._nodes.get(name) or self._calls.get(name)
        if found is not None:
            return found
        found = self._leaf_calls.get(name) or self._parameters.get(name)
        if name in self._aliases:
            return self._find(self._aliases[name])
        return found or self._last_inside.get(name)

    def _returned(self, name: str, call: ModuleCall) -> object:
        parts = list(leaves(call.output))
        for part in parts:
            if isinstance(part, Opaque):
                raise UnselectableValueError(
                    f"{name!r}: the call of {call.module_type.__name__} at {call.path!r} returned something that a graph "
                    f"cannot return: {part.description}. Ask for a value inside it instead{_some(self._inside(call))}."
                )
            if isinstance(part, NodeRef) and part.name not in self._by_fx_name:
                raise UnselectableValueError(
                    f"{name!r}: the node {part.name!r} that {call.module_type.__name__} returned is no longer in the graph. "
                    "Select before the pass that removed it."
                )
        if not any(isinstance(part, NodeRef) for part in parts):
            raise UnselectableValueError(
                f"{name!r}: the call of {call.module_type.__name__} at {call.path!r} returned no value of the graph: "
                f"{call.output!r}."
            )
        return with_nodes(call.output, self._by_fx_name)

    def _inside(self, call: ModuleCall) -> Iterable[str]:
        return [name for name in self._nodes if name.startswith(f"{call.path}.")][-3:]


def _some(names: Iterable[str]) -> str:
    listed = ", ".join(map(repr, names))
    return f", such as {listed}" if listed else ""
