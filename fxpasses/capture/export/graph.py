"""Turns the graph of an exported program into one that takes the model's arguments as the model takes them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import fx
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from fxpasses.capture.export.output import OutputForm, Unflattened
from fxpasses.capture.signature import Argument, placeholder_default

_AUGMENTED: dict[Any, Callable[..., Any]] = {
    overload: getattr(operator, f"i{name}")
    for name, plain in (("add", "add_"), ("sub", "sub_"), ("mul", "mul_"), ("truediv", "div_"))
    for overload in (getattr(torch.ops.aten, plain).Tensor, getattr(torch.ops.aten, plain).Scalar)
}
_IN_PLACE_OPERATORS = frozenset(_AUGMENTED.values())


def plain_graph(
    unlifted: fx.GraphModule, arguments: Sequence[Argument], form: OutputForm, aliases: Mapping[str, str]
) -> tuple[fx.Graph, dict[str, fx.Node]]:
    """Copies an export's graph, with one placeholder for each argument and its output as the model returns it.

    Parameters and buffers are read where they are first used, and not at all if they are not used.

    Args:
        unlifted: The exported program as a module.
        arguments: The arguments of the model's forward.
        form: How the model's output is made of the export's.
        aliases: The first path of each module by its further ones; parameters are read by the first.

    Returns:
        The new graph, and its nodes by the names that they had in the export.
    """
    graph = fx.Graph()
    placeholders = [
        graph.create_node("placeholder", argument.name, placeholder_default(argument), {}) for argument in arguments
    ]
    sources = iter([source for pair in zip(arguments, placeholders, strict=True) for source in _sources(*pair)])
    copies = _Copies(graph, aliases)
    for node in unlifted.graph.nodes:
        if node.op == "placeholder":
            copies.placeholder(node, *next(sources))
        elif node.op == "output":
            graph.output(_output(graph, unlifted, map_arg(node.args[0], copies.of), form))
        elif not _is_left_out(node):
            copies.copied(node)
    return graph, copies.by_name


class _Copies:
    """The nodes of the new graph; parameters, arguments and sizes are read only if something uses them.

    An export computes a size once for all modules that use it. Here each module call computes its own, so that no
    call depends on what is inside another one.
    """

    def __init__(self, graph: fx.Graph, aliases: Mapping[str, str]) -> None:
        self._graph = graph
        self._aliases = aliases
        self._attributes: dict[str, fx.Node] = {}
        self._call: str | None = None
        self._before_call: fx.Node | None = None
        self._sources: dict[fx.Node, Callable[[fx.Graph], fx.Node]] = {}
        self._known: dict[fx.Node, fx.Node] = {}
        self._sizes: dict[tuple[fx.Node, str], fx.Node] = {}
        self._stack: dict[str, Any] = {}
        self.by_name: dict[str, fx.Node] = {}

    def placeholder(self, node: fx.Node, argument: fx.Node, path: Sequence[Any]) -> None:
        """Takes note of how a leaf of an argument is read."""
        self._sources[node] = _reader(argument, path)
        if not path:
            self.of(node)

    def copied(self, node: fx.Node) -> None:
        """Copies an operation, with what it reads for the first time."""
        if _is_size(node):
            return
        self._enter(node.meta.get("nn_module_stack") or {})
        copy = self.by_name[node.name] = _with_operator(self._graph.node_copy(node, self.of))
        self._known[node] = copy
        if copy.op == "call_function" and _writes_into_buffer(copy):
            # What it returns is the buffer itself: a later call reads that, not what is inside this call.
            self._known[node] = cast("fx.Node", copy.args[0])

    def of(self, node: fx.Node) -> fx.Node:
        """Returns the copy of a node for use in the module call that is being copied."""
        if _is_size(node) and node not in self._sources:
            return self._size(node)
        if node not in self._known:
            made = self._attribute(node) if node.op == "get_attr" else self._part_of_argument(node)
            self._known[node] = self.by_name[node.name] = made
        return self._known[node]

    def _enter(self, stack: dict[str, Any]) -> None:
        call = next((key for key, (path, _) in stack.items() if path), None)
        if call is None or call != self._call:
            self._before_call = next(reversed(self._graph.nodes), None)
        self._stack, self._call = stack, call

    def _part_of_argument(self, node: fx.Node) -> fx.Node:
        """Reads a leaf of an argument before the outermost module call that is being copied, which may take it."""
        if self._before_call is None:
            return self._sources[node](self._graph)
        with self._graph.inserting_before(self._before_call.next):
            self._before_call = self._sources[node](self._graph)
        return self._before_call

    def _attribute(self, node: fx.Node) -> fx.Node:
        owner, _, name = str(node.target).rpartition(".")
        target = f"{self._aliases[owner]}.{name}" if owner in self._aliases else str(node.target)
        if target not in self._attributes:
            made = self._attributes[target] = self._graph.create_node("get_attr", target)
            made.meta.update(node.meta, nn_module_stack=self._stack)
        return self._attributes[target]

    def _size(self, node: fx.Node) -> fx.Node:
        key = (node, next(reversed(self._stack), ""))
        if key not in self._sizes:
            copy = self._graph.node_copy(node, self.of)
            copy.meta["nn_module_stack"] = self._stack
            self._sizes[key] = copy
            self.by_name.setdefault(node.name, copy)
        return self._sizes[key]


def _is_left_out(node: fx.Node) -> bool:
    """Whether a node checks what the guards check, or the device that the graph may be moved away from."""
    if node.op == "call_module":
        return node.target == "_guards_fn"
    return node.op == "get_attr" or node.target is torch.ops.aten._assert_tensor_metadata.default


def _writes_into_buffer(node: fx.Node) -> bool:
    first = node.args[0] if node.args else None
    in_place = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.name.endswith("_")
    return (in_place or node.target in _IN_PLACE_OPERATORS) and isinstance(first, fx.Node) and first.op == "get_attr"


def _is_size(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(
        node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool)
    )


def _with_operator(node: fx.Node) -> fx.Node:
    """Spells `aten.add_` as the augmented assignment that it nearly always was, as the other captures record it."""
    if node.target in _AUGMENTED and len(node.args) == 2 and not node.kwargs:
        node.target = _AUGMENTED[node.target]
    return node


def _sources(argument: Argument, placeholder: fx.Node) -> Iterator[tuple[fx.Node, Sequence[Any]]]:
    """Yields, for each leaf of an argument, the argument's placeholder and the leaf's path in it."""
    for path, _ in pytree.tree_flatten_with_path(argument.value)[0]:
        yield placeholder, path


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


def _output(graph: fx.Graph, unlifted: fx.GraphModule, values: Any, form: OutputForm) -> Any:
    if form.make is not None:
        return graph.call_function(form.make, tuple(cast("Sequence[Any]", values)))
    spec = cast("pytree.TreeSpec | None", getattr(unlifted, "_out_spec", None))
    if spec is None:
        return values
    values = list(cast("Sequence[Any]", values))
    if _is_plain(spec):
        return pytree.tree_unflatten(values, spec)
    return graph.call_function(Unflattened(spec), tuple(values))


def _is_plain(spec: pytree.TreeSpec) -> bool:
    return spec.is_leaf() or (spec.type in (list, tuple, dict) and all(_is_plain(child) for child in spec.children()))
