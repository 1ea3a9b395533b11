"""Graphs that are valid and that no tracer emits: for whoever reads graphs, not only traced models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from fxpasses.graph.serialize import copy_graph

ODD_NAMES = ("add", "add_1", "x_1", "relu", "_1", "output_1", "size", "conv", "getitem", "a_b")


def decorate(graph: fx.Graph, spec: Sequence[bytes]) -> fx.Graph:
    """A copy of a graph with odd but valid details; two bytes each, read totally.

    Names of operations that are another one's usual name, inputs that nothing uses, arguments given by keyword,
    values computed twice, constants and nested containers among the outputs.

    Example:
        >>> graph = fx.symbolic_trace(lambda x: x + 1).graph
        >>> list(decorate(graph, [bytes([1, 0])]).nodes)[1].op
        'placeholder'
    """
    graph = copy_graph(graph)
    for kind, knob in spec:
        _DETAILS[kind % len(_DETAILS)](graph, knob)
    graph.lint()
    return graph


def _calls(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op in ("call_function", "call_method")]


def _rename(graph: fx.Graph, knob: int) -> None:
    calls = _calls(graph)
    name = ODD_NAMES[knob % len(ODD_NAMES)]
    if calls and all(node.name != name for node in graph.nodes):
        graph._graph_namespace.create_name(name, None)
        calls[knob % len(calls)].name = name


def _unused_input(graph: fx.Graph, knob: int) -> None:
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if any(node.args for node in placeholders):
        return  # after one with a default, an input without one is no valid signature
    with graph.inserting_after(placeholders[-1]) if placeholders else graph.inserting_before(next(iter(graph.nodes))):
        graph.placeholder(f"unused_{knob % 4}_{len(placeholders)}", None, 0)


def _by_keyword(graph: fx.Graph, knob: int) -> None:
    calls = [node for node in _calls(graph) if getattr(node.target, "__name__", "") in ("add", "mul", "sub", "relu")]
    calls = [
        node for node in calls if getattr(node.target, "__module__", "") in ("torch", "torch._C._VariableFunctions")
    ]
    if not calls or not calls[knob % len(calls)].args:
        return
    node = calls[knob % len(calls)]
    names = ("input", "other")[: len(node.args)]
    if not set(names) & node.kwargs.keys() and len(node.args) <= len(names):
        node.kwargs = {**dict(zip(names, node.args, strict=True)), **node.kwargs}
        node.args = ()


def _twice(graph: fx.Graph, knob: int) -> None:
    calls = [node for node in _calls(graph) if not str(node.target).endswith("_") and "out" not in node.kwargs]
    if not calls:
        return
    node = calls[knob % len(calls)]
    with graph.inserting_after(node):
        graph.node_copy(node)


def _more_outputs(graph: fx.Graph, knob: int) -> None:
    output = graph.output_node()
    value: Any = output.args[0]
    forms: list[Any] = [
        (value, None),
        {"value": value, "constant": 1.5},
        [value, (value, [value])],
        (value, slice(0, 2), "text"),
        (),
    ]
    output.args = (forms[knob % len(forms)],)


def _repeated_attribute(graph: fx.Graph, knob: int) -> None:
    attributes = [node for node in graph.nodes if node.op == "get_attr"]
    if attributes:
        node = attributes[knob % len(attributes)]
        with graph.inserting_after(node):
            again = graph.node_copy(node)
        for user in list(node.users)[:1]:
            user.replace_input_with(node, again)


_DETAILS = (_rename, _unused_input, _by_keyword, _twice, _more_outputs, _repeated_attribute)
