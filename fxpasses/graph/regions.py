"""Module calls of a graph, and the nodes that each of them made."""

from __future__ import annotations

from torch import fx, nn

from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque
from fxpasses.graph.meta import Scope, capture_record, scopes


def module_calls(graph_module: fx.GraphModule) -> tuple[ModuleCall, ...]:
    """Returns the calls of traced-through modules, in the order in which they began.

    They come from the capture's record; for a graph from another tracer they are rebuilt from `nn_module_stack`,
    as far as a stack can tell: what a call returned is known when a single value leaves its nodes.
    """
    record = capture_record(graph_module)
    return record.calls if record is not None else _calls_from_stacks(graph_module.graph)


def regions(graph: fx.Graph) -> dict[str, list[fx.Node]]:
    """Returns the nodes that were made during each module call, by the call's key, in graph order.

    Leaf calls count too: theirs is the region of one node.
    """
    found: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        for scope in scopes(node):
            found.setdefault(scope.key, []).append(node)
    return found


def escaping(region: list[fx.Node]) -> list[fx.Node]:
    """Returns the nodes of `region` that something outside of it uses, in order; parameters and buffers aside."""
    inside = set(region)
    return [node for node in region if node.op != "get_attr" and any(user not in inside for user in node.users)]


def _calls_from_stacks(graph: fx.Graph) -> tuple[ModuleCall, ...]:
    described: dict[str, tuple[Scope, object, str | None]] = {}
    for node in graph.nodes:
        parent: str | None = None
        for scope in scopes(node):
            described.setdefault(scope.key, (scope, node.meta["nn_module_stack"][scope.key][1], parent))
            parent = scope.key
    found = regions(graph)
    return tuple(
        _call_from_region(scope, module_type, parent, found[key])
        for key, (scope, module_type, parent) in described.items()
        if not _is_leaf(found[key], scope)
    )


def _is_leaf(region: list[fx.Node], scope: Scope) -> bool:
    return len(region) == 1 and region[0].op == "call_module" and region[0].target == scope.path


def _call_from_region(scope: Scope, module_type: object, parent: str | None, region: list[fx.Node]) -> ModuleCall:
    leaving = escaping(region)
    inside = set(region)
    entering = list(dict.fromkeys(each for node in region for each in node.all_input_nodes if each not in inside))
    output: object = Opaque(f"{len(leaving)} values leave it, and this graph has no record of which it returned")
    if len(leaving) == 1:
        output = NodeRef(leaving[0].name)
    elif not leaving:
        output = NodeRef(region[-1].name)
    received: tuple[object, ...] = (Opaque(f"{len(entering)} values enter it, and this graph has no record of how"),)
    if len(entering) == 1:
        received = (NodeRef(entering[0].name),)
    _, _, index = scope.key.rpartition("@")
    return ModuleCall(
        scope.path,
        int(index) if scope.key != scope.path and index.isdigit() else 0,
        module_type if isinstance(module_type, type) else nn.Module,
        received,
        {},
        output,
        parent=parent,
        until=NodeRef(region[-1].name),
    )
