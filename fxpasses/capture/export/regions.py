"""Blocks such as `with torch.no_grad():` in an exported program: put back among the other operations."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import fx

from fxpasses.capture.leaves import is_leaf_class
from fxpasses.graph.calls import Loss

_higher_order = torch.ops.higher_order
_TRACEPOINT = _higher_order._export_tracepoint
_PLACE_OF_MODULE = {_higher_order.wrap_with_set_grad_enabled: 1, _higher_order.wrap_with_autocast: 4}
"""The operations that run a graph under other settings, each with the place of the graph among its arguments."""


class CallInBlock(NamedTuple):
    """What a module call took and returned, as lists of leaves."""

    inputs: list[Any]
    outputs: list[Any]


@dataclass
class InlinedRegions:
    """What became of the blocks of an exported program.

    Attributes:
        blocks: The blocks around an operation that are gone, by the operation's name.
        values: The operations that stand for values of the program that are gone, by these values' names.
        calls: What modules that were called in a block took and returned, by path and number of the call.
    """

    blocks: dict[str, str] = field(default_factory=dict[str, str])
    values: dict[str, fx.Node] = field(default_factory=dict[str, fx.Node])
    calls: dict[str, CallInBlock] = field(default_factory=dict[str, CallInBlock])

    def losses(self, nodes: Mapping[str, fx.Node]) -> tuple[Loss, ...]:
        """Returns what the graph does not carry over, one loss a module and block.

        Args:
            nodes: The nodes of the graph by the names that they have in the program.
        """
        found: dict[tuple[str, Any, str], list[str]] = {}
        for name, block in self.blocks.items():
            if name in nodes:
                stack = cast("dict[str, tuple[str, Any]]", nodes[name].meta.get("nn_module_stack") or {})
                path, kind = next(iter([*stack.values()][::-1]), ("", "the exported program"))
                found.setdefault((path, kind, block), []).append(nodes[name].name)
        return tuple(_loss(*key, names) for key, names in found.items())


def inline_regions(module: fx.GraphModule) -> InlinedRegions:
    """Replaces each operation that runs a graph under other settings by the operations of that graph, in place."""
    inlined = _inlined_regions(module)
    for node in list(module.graph.nodes):
        if node.target is _TRACEPOINT:
            _read_tracepoint(module.graph, node, inlined)
    return inlined


def _loss(path: str, kind: Any, block: str, names: list[str]) -> Loss:
    # The operations of a layer are about to become one call of it, under another name.
    nodes = () if isinstance(kind, type) and is_leaf_class(kind, ()) else tuple(names)
    what = f"computes under {block}, and the graph computes the same without it"
    return Loss(path, str(getattr(kind, "__name__", kind)), what, nodes=nodes)


def _inlined_regions(module: fx.GraphModule) -> InlinedRegions:
    inlined = InlinedRegions()
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target in _PLACE_OF_MODULE:
            _inline(module, node, inlined)
    return inlined


def _inline(module: fx.GraphModule, region: fx.Node, inlined: InlinedRegions) -> None:
    place = _PLACE_OF_MODULE[cast("Any", region.target)]
    holder = cast("fx.Node", region.args[place])
    inner = cast("fx.GraphModule", getattr(module, str(holder.target)))
    within = _inlined_regions(inner)
    block = _block(region)
    known: dict[fx.Node, Any] = dict(
        zip(inner.graph.find_nodes(op="placeholder"), region.args[place + 1 :], strict=True)
    )
    with module.graph.inserting_before(region):
        for node in _operations(inner):
            copy = known[node] = module.graph.node_copy(node, known.__getitem__)
            around = within.blocks.get(node.name, block)
            if around:
                inlined.blocks[copy.name] = around
    inlined.values.update({name: known[node] for name, node in within.values.items()})
    _replace(module.graph, region, fx.map_arg(inner.graph.output_node().args[0], known.__getitem__), inlined)
    if not holder.users:
        module.graph.erase_node(holder)


def _operations(inner: fx.GraphModule) -> Iterator[fx.Node]:
    return (node for node in inner.graph.nodes if node.op not in ("placeholder", "output"))


def _replace(graph: fx.Graph, region: fx.Node, outputs: Any, inlined: InlinedRegions) -> None:
    for user in list(region.users):
        if user.target is not operator.getitem:
            continue
        value = cast("fx.Node", outputs[cast("int", user.args[1])])
        inlined.values[user.name] = value
        user.replace_all_uses_with(value)
        graph.erase_node(user)
    if isinstance(outputs, fx.Node):
        inlined.values[region.name] = outputs
        region.replace_all_uses_with(outputs)
    graph.erase_node(region)


def _block(region: fx.Node) -> str:
    """Returns what a user would have written, or nothing for a block that changes nothing."""
    if region.target is _higher_order.wrap_with_autocast:
        return "torch.autocast" if region.args[2] else ""
    return "torch.enable_grad" if region.args[0] else "torch.no_grad"


def _read_tracepoint(graph: fx.Graph, tracepoint: fx.Node, inlined: InlinedRegions) -> None:
    """Takes note of what a module call took or returned; in a block, `torch.export` leaves that to be done."""
    key, (path, _) = next(reversed(list(cast("dict[str, Any]", tracepoint.meta["nn_module_stack"]).items())))
    _, at, number = key.partition("@")
    call = inlined.calls.setdefault(f"{path}{at}{number}", CallInBlock([], []))
    values = call.inputs if tracepoint.kwargs["kind"] == "module_call_inputs" else call.outputs
    values.extend(tracepoint.args)
    for user in list(tracepoint.users):
        value = cast("fx.Node", tracepoint.args[cast("int", user.args[1])])
        user.replace_all_uses_with(value)
        inlined.values.update({name: value for name, node in inlined.values.items() if node is user})
        graph.erase_node(user)
    graph.erase_node(tracepoint)
