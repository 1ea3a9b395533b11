"""`Snapshot`: a graph module as it is now, to be put back if a pipeline fails."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import fx, nn

class _NodeState(NamedTuple):
    node: fx.Node
    op: str
    name: str
    target: Any
    args: Any
    kwargs: Any
    type: Any
    meta: dict[str, Any]
    users: tuple[fx.Node, ...]


class _ModuleState(NamedTuple):
    module: nn.Module
    attributes: dict[str, Any]
    nested: dict[str, dict[Any, Any]]


@dataclass(frozen=True)
class ModuleSnapshot:
    """The attributes, children, parameters, buffers and hooks of a module and of all modules below it.

    Tensors are kept by reference, not copied.
    """

    states: tuple[_ModuleState, ...]

    @classmethod
    def take(cls, module: nn.Module) -> ModuleSnapshot:
        """Records the state of `module` and of its descendants."""
        return cls(tuple(_module_state(each) for each in module.modules()))

    def restore(self) -> None:
        """Puts every attribute back; may be called any number of times."""
        for state in self.states:
            _restore_module(state)


@dataclass(frozen=True)
class Snapshot:
    """The state of a graph module: its graph, its meta, its modules' attributes and its compiled code.

    Restoring puts the very same `Node`, `Graph` and module objects back into their old state, so that
    references which the caller holds stay valid. Tensors are not copied: a pass that writes into a
    parameter is not undone. Taking costs one visit of each node and module.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> snapshot = Snapshot.take(graph_module)
        >>> graph_module.graph.output_node().args = (None,)
        >>> snapshot.restore()
        >>> graph_module.graph.output_node().args
        (add,)
    """

    graph_module: fx.GraphModule
    graph: fx.Graph
    graph_attributes: dict[str, Any]
    used_names: tuple[set[str], dict[str, int], dict[Any, str]]
    nodes: tuple[_NodeState, ...]
    modules: ModuleSnapshot
    class_attributes: dict[str, Any]

    @classmethod
    def take(cls, graph_module: fx.GraphModule) -> Snapshot:
        """Records the state of `graph_module`."""
        graph = graph_module.graph
        namespace = graph._graph_namespace
        return cls(
            graph_module,
            graph,
            dict(graph.__dict__),
            (set(namespace._used_names), dict(namespace._base_count), dict(namespace._obj_to_name)),
            tuple(_node_state(node) for node in graph.nodes),
            ModuleSnapshot.take(graph_module),
            dict(vars(type(graph_module))),
        )

    def restore(self) -> None:
        """Puts everything recorded back in place; may be called any number of times."""
        self.modules.restore()
        self._restore_class()
        self._restore_nodes()

    def _restore_class(self) -> None:
        # A graph module has a class of its own, and compiling writes `forward` onto it.
        own_class = type(self.graph_module)
        for name in ("forward", "__call__", "_wrapped_call"):
            if name in self.class_attributes:
                setattr(own_class, name, self.class_attributes[name])
            elif name in vars(own_class):
                delattr(own_class, name)

    def _restore_nodes(self) -> None:
        graph = self.graph
        known = {state.node for state in self.nodes}
        for node in [*graph.nodes]:
            if node not in known:
                node.args, node.kwargs = (), {}
        for node in reversed([*graph.nodes]):
            node._remove_from_list()
            node._prev = node._next = node
            node._erased = node not in known
        graph.__dict__.update(self.graph_attributes)
        namespace = graph._graph_namespace
        used, counts, names = self.used_names
        namespace._used_names, namespace._base_count = set(used), dict(counts)
        namespace._obj_to_name = dict(names)
        self._relink()

    def _relink(self) -> None:
        graph = self.graph
        table = graph._find_nodes_lookup_table
        table.table.clear()
        for state in self.nodes:
            node = state.node
            # An erased node still points at its old neighbours; linked to itself it can be inserted again.
            node._prev = node._next = node
            node._erased = False
            for field in ("op", "name", "target", "type"):
                object.__setattr__(node, field, getattr(state, field))
            node.meta.clear()
            node.meta.update(state.meta)
            graph._root.prepend(node)
            table.insert(node)
        graph._len = len(self.nodes)
        for state in self.nodes:
            state.node.args, state.node.kwargs = state.args, state.kwargs
        for state in self.nodes:
            state.node.users.clear()
            state.node.users.update(dict.fromkeys(state.users))


def _node_state(node: fx.Node) -> _NodeState:
    return _NodeState(
        node, node.op, node.name, node.target, node.args, node.kwargs, node.type, dict(node.meta), tuple(node.users)
    )


def _module_state(module: nn.Module) -> _ModuleState:
    attributes = module.__dict__
    nested = {name: dict(entries) for name, entries in attributes.items() if type(entries) in (dict, OrderedDict)}
    return _ModuleState(module, dict(attributes), nested)


def _restore_module(state: _ModuleState) -> None:
    attributes = state.module.__dict__
    attributes.clear()
    attributes.update(state.attributes)
    for name, entries in state.nested.items():
        attributes[name].clear()
        attributes[name].update(entries)
