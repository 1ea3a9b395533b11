"""`Snapshot`: a graph module as it is now, to be put back if a pipeline fails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any, NamedTuple

from torch import fx, nn

from fxpasses.graph.module_tree import ModuleTree
from fxpasses.graph.state import GraphColumns, GraphState

_CONTAINERS = frozenset({dict, OrderedDict, list, set})
_COMPILED = ("forward", "__call__", "_wrapped_call")
_meta_of = attrgetter("meta")
_users_of = attrgetter("users")


@dataclass(frozen=True)
class ModuleSnapshot:
    """The attributes, children, parameters, buffers and hooks of a module and of all modules below it.

    Tensors are kept by reference, not copied.

    Example:
        >>> model = nn.Sequential(nn.ReLU())
        >>> snapshot = ModuleSnapshot.take(model)
        >>> _ = model.append(nn.Tanh()).eval()
        >>> snapshot.restore()
        >>> len(model), model.training
        (1, True)
    """

    attributes: list[tuple[nn.Module, dict[str, Any]]]
    filled: list[tuple[Any, Any]]
    empty: list[Any]

    @classmethod
    def take(cls, module: nn.Module) -> ModuleSnapshot:
        """Records the state of `module` and of its descendants."""
        attributes = [(each, each.__dict__.copy()) for each in ModuleTree.of(module).paths]
        containers = [value for _, own in attributes for value in own.values() if type(value) in _CONTAINERS]
        # Nearly all of them are dicts of hooks without a hook.
        return cls(
            attributes,
            [(container, container.copy()) for container in containers if container],
            [container for container in containers if not container],
        )

    def restore(self) -> None:
        """Puts every attribute back; may be called any number of times."""
        for module, before in self.attributes:
            own = module.__dict__
            if not all(map(is_, own.values(), before.values())) or list(own) != list(before):
                _refill(own, before)
        for container, content in self.filled:
            _refill(container, content)
        for container in self.empty:
            if container:
                container.clear()


@dataclass(frozen=True)
class Snapshot:
    """The state of a graph module: its graph, its meta, its modules' attributes and its compiled code.

    Restoring puts the very same `Node`, `Graph` and module objects back into their old state, so that
    references which the caller holds stay valid; graph modules inside the graph module are included. Tensors
    are not copied: a pass that writes into a parameter is not undone. Taking costs one visit of each node and module.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> snapshot = Snapshot.take(graph_module)
        >>> graph_module.graph.output_node().args = (None,)
        >>> snapshot.restore()
        >>> graph_module.graph.output_node().args
        (add,)
    """

    state: GraphState
    graphs: tuple[_GraphSnapshot, ...]
    modules: ModuleSnapshot
    classes: tuple[tuple[type, dict[str, Any]], ...]
    containers: _Containers

    @classmethod
    def take(cls, graph_module: fx.GraphModule) -> Snapshot:
        """Records the state of `graph_module`."""
        state = GraphState.of(graph_module)
        owners = [module for module in ModuleTree.of(graph_module).paths if isinstance(module, fx.GraphModule)]
        containers = _Containers({})
        for columns in state.graphs.values():
            containers.add(map(_meta_of, columns.nodes))
        containers.add(owner.meta for owner in owners)
        return cls(
            state,
            tuple(_GraphSnapshot.take(columns) for columns in state.graphs.values()),
            ModuleSnapshot.take(graph_module),
            tuple((type(owner), _compiled(type(owner))) for owner in owners),
            containers,
        )

    def restore(self) -> None:
        """Puts everything recorded back in place; may be called any number of times."""
        self.modules.restore()
        for own_class, compiled in self.classes:
            _restore_class(own_class, compiled)
        for graph in self.graphs:
            graph.restore()
        self.containers.restore()


class _Containers(NamedTuple):
    """Dictionaries, lists and sets, each with a copy of its content, as deep as they are nested."""

    content: dict[int, tuple[Any, Any]]

    def add(self, found: Iterable[Any]) -> None:
        waiting = [container for container in found if container]
        while waiting:
            container = waiting.pop()
            if id(container) in self.content:
                continue
            self.content[id(container)] = (container, container.copy())
            values = container.values() if isinstance(container, dict) else container
            waiting.extend(value for value in values if type(value) in _CONTAINERS)

    def restore(self) -> None:
        for container, content in self.content.values():
            _refill(container, content)


@dataclass(frozen=True)
class _GraphSnapshot:
    columns: GraphColumns
    attributes: dict[str, Any]
    used_names: tuple[set[str], dict[str, int], dict[Any, str]]
    metas: list[dict[str, Any]]
    users: list[tuple[fx.Node, ...]]

    @classmethod
    def take(cls, columns: GraphColumns) -> _GraphSnapshot:
        namespace = columns.graph._graph_namespace
        return cls(
            columns,
            dict(columns.graph.__dict__),
            (set(namespace._used_names), dict(namespace._base_count), dict(namespace._obj_to_name)),
            list(map(_meta_of, columns.nodes)),
            list(map(tuple, map(_users_of, columns.nodes))),
        )

    def restore(self) -> None:
        graph = self.columns.graph
        self._unlink_all()
        graph.__dict__.clear()
        graph.__dict__.update(self.attributes)
        namespace = graph._graph_namespace
        used, counts, names = self.used_names
        namespace._used_names, namespace._base_count, namespace._obj_to_name = set(used), dict(counts), dict(names)
        self._link_recorded()
        self._restore_uses()

    def _unlink_all(self) -> None:
        known = set(self.columns.nodes)
        for node in list(self.columns.graph.nodes):
            if node not in known:
                _set_arguments(node, (), {})
                node._erased = True
        _isolate(self.columns.graph._root)

    def _link_recorded(self) -> None:
        graph = self.columns.graph
        table = graph._find_nodes_lookup_table
        table.table.clear()
        for row, meta in zip(self.columns.rows(), self.metas, strict=True):
            # An erased node still points at its old neighbours; linked to itself it can be inserted again.
            _isolate(row.node)
            row.node._erased = False
            for field in ("op", "name", "target", "type"):
                object.__setattr__(row.node, field, getattr(row, field))
            row.node.meta = meta
            # An empty meta is not among the containers.
            meta.clear()
            graph._root.prepend(row.node)
            table.insert(row.node)

    def _restore_uses(self) -> None:
        for row in self.columns.rows():
            _set_arguments(row.node, row.args, row.kwargs)
        for node, users in zip(self.columns.nodes, self.users, strict=True):
            node.users.clear()
            node.users.update(dict.fromkeys(users))


def _refill(container: Any, content: Any) -> None:
    container.clear()
    container.extend(content) if isinstance(container, list) else container.update(content)


def _set_arguments(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for used in node._input_nodes:
        used.users.setdefault(node)  # taking a use back fails where somebody removed it from `users`
    node._update_args_kwargs(args, kwargs)


def _isolate(node: fx.Node) -> None:
    node._prev = node._next = node


def _compiled(own_class: type) -> dict[str, Any]:
    return {name: value for name, value in vars(own_class).items() if name in _COMPILED}


def _restore_class(own_class: type, compiled: dict[str, Any]) -> None:
    # A graph module has a class of its own, and compiling writes `forward` onto it.
    for name in _COMPILED:
        if name in compiled:
            setattr(own_class, name, compiled[name])
        elif name in vars(own_class):
            delattr(own_class, name)
