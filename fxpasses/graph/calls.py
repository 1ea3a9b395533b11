"""What each module call of a captured model received and returned.

A graph alone cannot say what a module returned: the last operation inside it may not be its result, a
tuple or a dict leaves no node, and a module that returns its input leaves nothing at all. So a capture
records its calls. The records refer to nodes by name, which keeps them valid in every copy of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import fx, nn


@dataclass(frozen=True)
class NodeRef:
    """A node of the graph, by its name."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """A value that no graph can hold: an object that is neither a node, a constant nor a container of them."""

    description: str


@dataclass(frozen=True)
class ModuleCall:
    """One call of a traced-through module.

    Attributes:
        path: The module's path in the model.
        index: How many calls of the same path came before this one.
        module_type: The module's class.
        args: What the call received by position; containers with a `NodeRef` where a node was.
        kwargs: What the call received by keyword, in the same form.
        output: What the call returned, in the same form.
        after: The node that was the graph's last when the call began.
        parent: The key of the call in which this one happened; None below the root.
        name: The qualified name of the returned value; None before a naming pass ran.
        until: The node that was the graph's last when the call returned; None if nobody knows.
    """

    path: str
    index: int
    module_type: type[nn.Module]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    output: object
    after: NodeRef | None = None
    parent: str | None = None
    name: str | None = None
    until: NodeRef | None = None

    @property
    def key(self) -> str:
        """The call as `nn_module_stack` spells it: the path, with `@k` from the second call on."""
        return call_key(self.path, self.index)


@dataclass(frozen=True)
class Loss:
    """Something about a module that its graph does not carry over.

    Attributes:
        path: The module's path in the model; empty for the model itself.
        module_type: The name of the module's class.
        what: What it is, as the rest of a sentence that begins with the module.
        where: File and line, or empty if nobody knows.
        nodes: The nodes that it concerns, by their own names; empty if it concerns all that the module computes.
    """

    path: str
    module_type: str
    what: str
    where: str = ""
    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        module = f"module {self.path!r}" if self.path else "the model"
        return f"{module} ({self.module_type}) {self.what}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class CaptureRecord:
    """What a capture knows beyond the graph.

    Attributes:
        model: The captured model, by reference.
        training: Whether the model was in training mode.
        calls: The calls of traced-through modules, in the order in which they began.
        losses: What the graph does not carry over from the model.
        mode_readers: The modules on whose training mode the graph may depend; empty if it is the same in both modes.
        aliases: Further paths of a module that is registered more than once, mapped to the path in the graph.
    """

    model: nn.Module
    training: bool
    calls: tuple[ModuleCall, ...] = ()
    losses: tuple[Loss, ...] = ()
    mode_readers: tuple[str, ...] = ("",)
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])


def call_key(path: str, index: int) -> str:
    """Spells the `index`-th call of the module at `path` as `nn_module_stack` does.

    Example:
        >>> call_key("layer1", 0), call_key("layer1", 2)
        ('layer1', 'layer1@2')
    """
    return f"{path}@{index}" if index else path


def map_structure(value: object, leaf: Callable[[object], object]) -> object:
    """Rebuilds nested tuples, lists, dicts and slices with `leaf` applied to everything else.

    Named tuples keep their type; subclasses of dict, such as `OrderedDict`, become plain dicts.

    Example:
        >>> map_structure({"a": (1, [2])}, lambda number: number * 10)
        {'a': (10, [20])}
    """
    if isinstance(value, tuple):
        items = [map_structure(item, leaf) for item in cast("tuple[object, ...]", value)]
        constructor = cast("Callable[..., object]", type(value))
        return constructor(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [map_structure(item, leaf) for item in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return {key: map_structure(item, leaf) for key, item in cast("Mapping[Any, object]", value).items()}
    if isinstance(value, slice):
        return slice(*(map_structure(part, leaf) for part in (value.start, value.stop, value.step)))
    return leaf(value)


def leaves(value: object) -> Iterable[object]:
    """Yields the leaves of a nested structure, from left to right.

    Example:
        >>> list(leaves({"a": (1, [2])}))
        [1, 2]
    """
    found: list[object] = []
    map_structure(value, found.append)
    return found


def with_nodes(value: object, nodes: Mapping[str, fx.Node]) -> object:
    """Replaces each `NodeRef` in a structure by its node.

    Raises:
        KeyError: A node of the structure is no longer in the graph.
    """
    return map_structure(value, lambda leaf: nodes[leaf.name] if isinstance(leaf, NodeRef) else leaf)
