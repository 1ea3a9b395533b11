"""`PruneToOutputs`: makes a graph return the values asked for, and removes what they do not need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import fx

from fxpasses.errors import ArgumentTypeError, DuplicateOutputError, EmptySelectionError, UnknownNodeError
from fxpasses.graph.analyses import effects_of
from fxpasses.graph.calls import leaves, map_structure
from fxpasses.graph.edit import insert_after
from fxpasses.graph.effects import Effects
from fxpasses.graph.effects.moments import value_after
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.graph.liveness import live_nodes
from fxpasses.graph.meta import set_capture_record, set_name
from fxpasses.graph.modules import drop_unused
from fxpasses.graph.values import NamedValues
from fxpasses.manager import Pass, PassResult
from fxpasses.manager.contract import OutputsClaim


class PruneResult(PassResult):
    """The outcome of `PruneToOutputs`: how many nodes, and how many parameters and buffers, it removed."""

    removed_nodes: int
    removed_tensors: int


@dataclass(frozen=True)
class PruneToOutputs(Pass):
    """Makes the graph return a dict of the named values, and removes all that they do not need.

    Kept is what the values are computed from, every in-place write that one of them depends on, and every
    placeholder. Modules, parameters and buffers that nothing refers to any more leave the graph module; the model
    from which it was captured keeps them. The capture's record goes too: it would hold the whole model alive.

    Attributes:
        selection: Pairs of a name and the key of its value in the returned dict, in the order of that dict. Given as
            a mapping from names to keys, or as names that are their own keys.

    Example:
        >>> import torch
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
        >>> graph_module = NameNodes()(fx.symbolic_trace(model)).graph_module
        >>> result = PruneToOutputs({"0": "hidden"})(graph_module)
        >>> result.removed_nodes, list(graph_module.state_dict())
        (1, ['0.weight', '0.bias'])
    """

    selection: tuple[tuple[str, str], ...]

    needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    outputs_claim: ClassVar[OutputsClaim] = "subset"

    def __init__(self, selection: Mapping[str, str] | Iterable[str]) -> None:
        """Takes the selection; see the class.

        Raises:
            EmptySelectionError: There are none.
            DuplicateOutputError: Two values have the same key.
            ArgumentTypeError: A single string, or names that are no strings.
        """
        object.__setattr__(self, "selection", output_pairs(selection))

    def call(self, graph_module: fx.GraphModule) -> PruneResult:
        """Prunes; see the class.

        Raises:
            UnknownNodeError: Names that nothing in the graph has; all of them at once.
            UnselectableValueError: A name whose value cannot be returned.
        """
        values = NamedValues(graph_module)
        unknown = [name for name, _ in self.selection if name not in values]
        if unknown:
            raise UnknownNodeError("\n".join(_unknown(name, values) for name in unknown))
        effects = effects_of(graph_module)
        removed = prune_to(
            graph_module,
            {key: returned_value(graph_module.graph, values, name, effects) for name, key in self.selection},
        )
        set_capture_record(graph_module, None)
        return PruneResult(graph_module, True, removed_nodes=removed, removed_tensors=drop_unused(graph_module))


def output_pairs(
    outputs: Mapping[str, str] | Iterable[str], argument: str = "selection"
) -> tuple[tuple[str, str], ...]:
    """Returns `outputs` as pairs of name and key; see `PruneToOutputs` for what it may be and what it raises.

    Example:
        >>> output_pairs(["layer1", "layer2"])
        (('layer1', 'layer1'), ('layer2', 'layer2'))
    """
    if isinstance(outputs, str) or not isinstance(outputs, Iterable):
        hint = f"[{outputs!r}]" if isinstance(outputs, str) else "a list of names or a dict from names to keys"
        raise ArgumentTypeError(f"{argument}={outputs!r}: expected several names; write {hint}.")
    pairs = tuple(outputs.items()) if isinstance(outputs, Mapping) else tuple((name, name) for name in outputs)
    for part in (part for pair in pairs for part in pair):
        if not isinstance(part, str):
            raise ArgumentTypeError(
                f"{argument} holds {part!r} of type {type(part).__name__}; names and keys are strings."
            )
    if not pairs:
        raise EmptySelectionError(
            f"{argument} is empty: name at least one value. get_graph_node_names(model) lists them."
        )
    return _unique_keys(dict.fromkeys(pairs), argument)


def _unique_keys(pairs: Iterable[tuple[str, str]], argument: str) -> tuple[tuple[str, str], ...]:
    names: dict[str, str] = {}
    for name, key in pairs:
        if key in names:
            raise DuplicateOutputError(
                f"{argument}: {names[key]!r} and {name!r} would both be returned as {key!r}, and one be lost. "
                "Give each its own key."
            )
        names[key] = name
    return tuple((name, key) for key, name in names.items())


def prune_to(graph_module: fx.GraphModule, outputs: Mapping[str, object]) -> int:
    """Makes the graph of `graph_module` return `outputs` and removes the nodes that they do not need, in place.

    Args:
        graph_module: Its graph is changed; its modules stay as they are.
        outputs: Keys, and the nodes or containers of nodes to return.

    Returns:
        How many nodes were removed.
    """
    graph = graph_module.graph
    output = graph.output_node()
    output.args = (cast("Any", dict(outputs)),)
    output.type = None
    wanted = _nodes_in(outputs)
    removed, effects = 0, effects_of(graph_module)
    while unneeded := _unneeded(graph, live_nodes(graph, wanted, effects)):
        for node in unneeded:
            graph.erase_node(node)
        removed += len(unneeded)
        if not effects.joined:
            break
        effects = effects_of(graph_module)
    return removed


def _unneeded(graph: fx.Graph, live: set[fx.Node]) -> list[fx.Node]:
    return [node for node in reversed(graph.nodes) if node not in live and node.op not in ("output", "placeholder")]


def returned_value(graph: fx.Graph, values: NamedValues, name: str, effects: Effects) -> object:
    """Returns what a graph has to return for `name`: nodes that hold the value of the moment that the name means.

    Args:
        graph: New nodes are inserted in it where that takes any.
        values: The values of the graph.
        name: One of them.
        effects: What the nodes of the graph write.
    """
    value, moment = values.value(name), values.moment(name)
    if moment is None:
        return value
    parts = [part for part in leaves(value) if isinstance(part, fx.Node)]
    held = {part: value_after(part, moment, effects) for part in parts}
    end = max([moment, *held.values()], key=list(graph.nodes).index) if _has_named_tuple(value) else moment
    return _Builder(graph, end).built(name, map_structure(value, lambda part: held.get(cast("fx.Node", part), part)))


def _has_named_tuple(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_named_tuple, cast("Mapping[Any, object]", value).values()))
    return isinstance(value, (tuple, list)) and (
        hasattr(value, "_fields") or any(map(_has_named_tuple, cast("Iterable[object]", value)))
    )


@dataclass
class _Builder:
    """Makes a node for each named tuple in a value: generated code cannot spell one inside a dict."""

    graph: fx.Graph
    last: fx.Node

    def built(self, name: str, value: object) -> object:
        """Returns `value` with the nodes, each right after those that it is made of."""
        if isinstance(value, Mapping):
            items = cast("Mapping[Any, object]", value).items()
            return {key: self.built(f"{name}[{key!r}]", item) for key, item in items}
        if not isinstance(value, (tuple, list)):
            return value
        parts = [self.built(f"{name}[{index}]", item) for index, item in enumerate(cast("Iterable[object]", value))]
        if not hasattr(value, "_fields"):
            return cast("type[Any]", type(value))(parts)
        self.last = insert_after(self.last, "call_function", cast("type[Any]", type(value)), tuple(parts))
        set_name(self.last, name, "exact")
        return self.last


def _nodes_in(outputs: Mapping[str, object]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    map_structure(outputs, lambda part: found.add(part) if isinstance(part, fx.Node) else None)
    return found


def _unknown(name: str, values: NamedValues) -> str:
    near = values.near(name)
    return f"No value is called {name!r}." + (f" Near names: {', '.join(map(repr, near))}." if near else "")
