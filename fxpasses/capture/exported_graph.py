"""Turns the graph of an exported program into one that takes the model's arguments as the model takes them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from torch import fx
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from fxpasses.capture.signature import Argument, placeholder_default


class Unflattened:
    """A function from the values of a container's leaves to the container.

    Args:
        spec: The container's structure.
    """

    def __init__(self, spec: pytree.TreeSpec) -> None:
        self._spec = spec
        self.__name__ = self.__qualname__ = getattr(spec.type, "__name__", "container")
        self.__module__ = __name__

    def __call__(self, *values: Any) -> Any:
        return pytree.tree_unflatten(values, self._spec)


def plain_graph(unlifted: fx.GraphModule, arguments: Sequence[Argument]) -> tuple[fx.Graph, dict[str, fx.Node]]:
    """Copies an export's graph, with one placeholder for each argument and its output as the model returns it.

    Parameters and buffers are read where they are first used, and not at all if they are not used.

    Args:
        unlifted: The exported program as a module.
        arguments: The arguments of the model's forward.

    Returns:
        The new graph, and its nodes by the names that they had in the export.
    """
    graph = fx.Graph()
    placeholders = [
        graph.create_node("placeholder", argument.name, placeholder_default(argument), {}) for argument in arguments
    ]
    sources = (source for argument, node in zip(arguments, placeholders, strict=True) for source in _sources(argument, node))
    copies = _Copies(graph)
    for node in unlifted.graph.nodes:
        if node.op == "placeholder":
            copies.placeholder(node, next(sources))
        elif node.op == "output":
            graph.output(_output(graph, unlifted, cast("Any", map_arg(node.args[0], copies.of))))
        elif node.op != "get_attr" and not (node.op == "call_module" and node.target == "_guards_fn"):
            copies.copied(node)
    return graph, copies.by_name


class _Copies:
    """The nodes of the new graph, made when they are first used where that is possible."""

    def __init__(self, graph: fx.Graph) -> None:
        self._graph = graph
        self._sources: dict[fx.Node, Callable[[fx.Graph], fx.Node]] = {}
        self._known: dict[fx.Node, fx.Node] = {}
        self.by_name: dict[str, fx.Node] = {}

    def placeholder(self, node: fx.Node, source: Callable[[fx.Graph], fx.Node]) -> None:
        self._sources[node] = source

    def of(self, node: fx.Node) -> fx.Node:
        if node not in self._known:
            if node.op == "get_attr":
                self._keep(node, self._graph.create_node("get_attr", node.target))
            else:
                self._keep(node, self._sources[node](self._graph))
        return self._known[node]

    def copied(self, node: fx.Node) -> None:
        before = set(self._known)
        copy = self._graph.node_copy(node, self.of)
        for each in set(self._known) - before:
            stack = copy.meta.get("nn_module_stack")
            if each.op == "get_attr" and stack is not None:
                self._known[each].meta["nn_module_stack"] = stack
        self._keep(node, copy)

    def _keep(self, node: fx.Node, copy: fx.Node) -> None:
        self._known[node] = copy
        self.by_name[node.name] = copy


def _sources(argument: Argument, placeholder: fx.Node) -> Iterator[Callable[[fx.Graph], fx.Node]]:
    """Yields, for each leaf of an argument, a function that reads it from the argument's placeholder."""
    for path, _ in pytree.tree_flatten_with_path(argument.value)[0]:
        yield _reader(placeholder, path)


def _reader(placeholder: fx.Node, path: Sequence[Any]) -> Callable[[fx.Graph], fx.Node]:
    def read(graph: fx.Graph) -> fx.Node:
        node = placeholder
        for key in path:
            if isinstance(key, pytree.GetAttrKey):
                node = graph.call_function(getattr, (node, key.name))
            else:
                index = key.idx if isinstance(key, pytree.SequenceKey) else key.key
                node = graph.call_function(operator.getitem, (node, index))
        return node

    return read


def _output(graph: fx.Graph, unlifted: fx.GraphModule, values: Any) -> Any:
    spec = cast("pytree.TreeSpec | None", getattr(unlifted, "_out_spec", None))
    if spec is None:
        return values
    values = list(cast("Sequence[Any]", values))
    if _is_plain(spec):
        return pytree.tree_unflatten(values, spec)
    return graph.call_function(Unflattened(spec), tuple(values))


def _is_plain(spec: pytree.TreeSpec) -> bool:
    return spec.is_leaf() or (spec.type in (list, tuple, dict) and all(_is_plain(child) for child in spec.children()))
