"""The module calls of an exported program, in the form in which the other captures record them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from fxpasses.capture.export.call_keys import path_of, plain_key, says_all
from fxpasses.capture.export.regions import CallInBlock
from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque, leaves, map_structure
from fxpasses.graph.meta import scopes
from fxpasses.graph.regions import regions

ModuleTypes = Mapping[str, type[nn.Module]]


def own_stack(node: fx.Node, types: ModuleTypes, keys: Mapping[str, str]) -> None:
    """Spells the `nn_module_stack` of an exported node as a tracer of `torch.fx` does.

    Args:
        node: The node, which is changed in place.
        types: The classes of the model's modules.
        keys: What `own_keys` says of the program.
    """
    stack = cast("Mapping[str, tuple[str, Any]] | None", node.meta.get("nn_module_stack"))
    if stack:
        entries = [(plain_key(key), path_of(path), kind) for key, (path, kind) in stack.items() if path]
        own = [(keys.get(key, key), path_of(keys[key]) if key in keys else path, kind) for key, path, kind in entries]
        node.meta["nn_module_stack"] = {key: (path, _type(path, kind, types)) for key, path, kind in own}


def exported_calls(
    program: ExportedProgram,
    graph: fx.Graph,
    nodes: Mapping[str, fx.Node],
    types: ModuleTypes,
    keys: Mapping[str, str],
    from_stacks: Sequence[ModuleCall] = (),
    in_blocks: Mapping[str, CallInBlock] | None = None,
) -> tuple[ModuleCall, ...]:
    """Returns the calls of all modules, in the order in which they began.

    Args:
        program: The program; its module call graph says what each call took and returned.
        graph: The graph made from it, with stacks as `own_stack` spells them.
        nodes: The nodes of `graph` by the names that they have in the program.
        types: The classes of the model's modules; those that are missing are looked up by name, or unknown.
        keys: What `own_keys` says of the program.
        from_stacks: What the stacks of the nodes tell; used for calls that the program says nothing about.
        in_blocks: What calls took and returned of which the program says but the structure.
    """
    timeline = _Timeline(graph)
    reader = _Reader(nodes)
    calls: list[tuple[tuple[float, int], ModuleCall]] = []
    for name, signature in _signatures(program, in_blocks or {}):
        key = timeline.key(keys.get(name, name))
        path, _, index = key.partition("@")
        args, kwargs, output = reader.structures(signature)
        began = timeline.began(key, leaves((args, kwargs)))
        call = ModuleCall(
            path,
            int(index or 0),
            _type(path, None, types),
            args,
            kwargs,
            output,
            timeline.before(began),
            timeline.parent(key, path, began),
            until=timeline.ended(key, began),
        )
        calls.append(((began, path.count(".")), call))
    known = {call.key for _, call in calls}
    for call in from_stacks:
        if call.key not in known:
            calls.append(((timeline.began(call.key, ()), call.path.count(".")), call))
    return tuple(call for _, call in sorted(calls, key=lambda each: each[0]))


def _signatures(program: ExportedProgram, in_blocks: Mapping[str, CallInBlock]) -> list[tuple[str, Any]]:
    known = {entry.fqn: entry.signature for entry in program.module_call_graph if entry.fqn and entry.signature}
    for fqn, call in in_blocks.items():
        signature: Any = known.get(fqn, known.get(path_of(fqn)))
        if signature is not None:
            known[fqn] = dataclasses.replace(signature, inputs=call.inputs, outputs=call.outputs)
    return [(fqn, signature) for fqn, signature in known.items() if says_all(signature)]


class _Timeline:
    """When each module call began and ended, as positions in the graph."""

    def __init__(self, graph: fx.Graph) -> None:
        self._order = [node for node in graph.nodes if node.op != "output"]
        self._position = {node.name: index for index, node in enumerate(self._order)}
        self._region = {
            key: (self._position[found[0].name], self._position[found[-1].name])
            for key, found in regions(graph).items()
        }
        self._parents: dict[str, str | None] = {}
        for node in self._order:
            around = [scope.key for scope in scopes(node)]
            for parent, key in zip([None, *around], around, strict=False):
                self._parents.setdefault(key, parent)

    @staticmethod
    def key(name: str) -> str:
        path, _, index = name.partition("@")
        return f"{path}@{index}" if index not in ("", "0") else path

    def began(self, key: str, received: Any) -> float:
        """Returns the position of a call's first node; for a call without nodes, one right after it got what it takes."""
        if key in self._region:
            return float(self._region[key][0])
        positions = [self._handed_out(each.name, key) for each in received if isinstance(each, NodeRef)]
        return max(positions, default=-1) + 0.5

    def _handed_out(self, name: str, to: str) -> int:
        """Returns the position at which a node's value can reach a call: not before the calls that made it returned."""
        if name not in self._position:
            return -1
        made = self._position[name]
        around = [scope.key for scope in scopes(self._order[made])]
        running = [place for place, key in enumerate(around) if to.startswith(f"{path_of(key)}.")]
        returned = around[running[-1] + 1 :] if running else around
        return self._region[returned[0]][1] if returned else made

    def before(self, began: float) -> NodeRef | None:
        """Returns the node that was the last one when a call began."""
        index = int(began) if began % 1 else int(began) - 1
        return NodeRef(self._order[index].name) if index >= 0 else None

    def ended(self, key: str, began: float) -> NodeRef | None:
        """Returns the node that was the last one when a call returned."""
        return NodeRef(self._order[self._region[key][1]].name) if key in self._region else self.before(began)

    def parent(self, key: str, path: str, began: float) -> str | None:
        """Returns the call around a call."""
        if key in self._parents:
            return self._parents[key]
        around = [
            (end - start, each)
            for each, (start, end) in self._region.items()
            if start <= began <= end + 1 and path.startswith(f"{path_of(each)}.")
        ]
        return min(around)[1] if around else None


class _Reader:
    """Reads what a call took and returned."""

    def __init__(self, nodes: Mapping[str, fx.Node]) -> None:
        self._nodes = nodes

    def structures(self, signature: Any) -> tuple[tuple[object, ...], dict[str, object], object]:
        inputs = [self._value(each) for each in signature.inputs]
        args, kwargs = cast("tuple[Any, Any]", _unflattened(inputs, signature.in_spec, ((), {})))
        output = _unflattened([self._value(each) for each in signature.outputs], signature.out_spec, None)
        return tuple(args), dict(kwargs), map_structure(output, _recorded)

    def _value(self, argument: Any) -> object:
        if hasattr(argument, "value"):
            return argument.value
        if not hasattr(argument, "name"):
            return argument  # a constant in a block
        node = self._nodes.get(argument.name)
        return (
            NodeRef(node.name) if node is not None else Opaque(f"the value {argument.name!r} of the exported program")
        )


def _recorded(leaf: object) -> object:
    if leaf is None or isinstance(leaf, (NodeRef, Opaque, bool, int, float, complex, str)):
        return leaf
    return Opaque(f"an object of type {type(leaf).__name__}")


def _unflattened(values: Sequence[object], spec: pytree.TreeSpec, otherwise: object) -> object:
    try:
        return pytree.tree_unflatten(list(values), spec)
    except Exception:  # a container whose class takes tensors alone
        return (
            otherwise
            if otherwise is not None
            else Opaque(f"an object of type {getattr(spec.type, '__name__', spec.type)}")
        )


def _type(path: str, name: object, types: ModuleTypes) -> type[nn.Module]:
    if path in types:
        return types[path]
    module, _, kind = str(name).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError, ValueError):
        return nn.Module
    return found if isinstance(found, type) else nn.Module
