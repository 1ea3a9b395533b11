"""`GuardProgram`: the part of a graph that decisions depend on, to be run on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import fx, nn
from torch.fx.node import map_arg

from fxpasses.capture.values.fake_values import FakeValues, changes_a_shape
from fxpasses.capture.values.weightless import without_data, without_weights
from fxpasses.graph.modules import copy_targets
from fxpasses.graph.serialize import FlatGraph

QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "complex": complex,
    "dtype": lambda value: value.dtype,
    "float": float,
    "int": int,
    "keys": lambda value: list(value.keys()),
    "len": len,
    "range": lambda value: value,
}
"""How each kind of decision is answered from a value."""


class GuardProgram:
    """Computes the decisions of a captured graph for other inputs.

    It owns copies of the modules that take part, without their weights, so it neither keeps the model alive nor
    makes a saved extractor larger.

    Args:
        root: Modules without weights, in which the targets of the graph are found.
        graph: The part of the captured graph that the decisions depend on.
        examples: The arguments of the capture, without data.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, examples: Sequence[Any]) -> None:
        self._root = root
        self._graph = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._examples = examples
        self._last: tuple[Any, FakeValues] | None = None

    @classmethod
    def of(cls, graph_module: fx.GraphModule, decisive: Sequence[fx.Node], examples: Sequence[Any]) -> GuardProgram:
        """Cuts the program for the nodes `decisive` out of a graph module."""
        graph = _cut(graph_module.graph, decisive)
        root = nn.Module()
        copy_targets(graph_module, root, graph)
        return cls(without_weights(root), graph, [without_data(example) for example in examples])

    def answer(self, name: str, kind: str, values: Sequence[Any]) -> tuple[Any] | Exception | None:
        """Answers one decision for the arguments `values`.

        Returns:
            The answer, in a tuple of one; the exception that its computation raises for these arguments; or None if
            it raises for the arguments of the capture as well, so that nothing can be said.
        """
        try:
            return self._answered(name, kind, values)
        except Exception as error:
            return error if self._answers_examples(name, kind) else None

    def _answers_examples(self, name: str, kind: str) -> bool:
        try:
            self._answered(name, kind, self._examples)
        except Exception:
            return False
        return True

    def _answered(self, name: str, kind: str, values: Sequence[Any]) -> tuple[Any]:
        if self._last is None or self._last[0] is not values:
            self._last = (values, self._evaluation(values))
        evaluation = self._last[1]
        return (evaluation.answer(self._nodes[name], QUESTIONS[kind]),)

    def _evaluation(self, values: Sequence[Any]) -> FakeValues:
        evaluation = FakeValues(self._root, weightless=True)
        for node in self._graph.nodes:
            evaluation.add(node)
        placeholders = cast("list[fx.Node]", self._graph.find_nodes(op="placeholder"))
        for node, value in zip(placeholders, values, strict=True):
            evaluation.give(node, value)
        return evaluation

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._root, FlatGraph.of(self._graph), self._examples)


def _restored(root: nn.Module, flat: FlatGraph, examples: Sequence[Any]) -> GuardProgram:
    return GuardProgram(root, flat.graph(), examples)


def _cut(graph: fx.Graph, decisive: Sequence[fx.Node]) -> fx.Graph:
    """Returns a graph of what the nodes `decisive` need."""
    kept = _needed(graph, decisive)
    cut = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in kept or node.op == "placeholder":
            # `create_node` looks through all arguments that it is given, which takes most of its time.
            copy = copies[node] = cut.create_node(node.op, node.target, (), {}, node.name)
            copy.args = map_arg(node.args, copies.__getitem__)
            copy.kwargs = map_arg(node.kwargs, copies.__getitem__)
    return cut


def _needed(graph: fx.Graph, decisive: Sequence[fx.Node]) -> set[fx.Node]:
    until = max(decisive)
    in_order = {node for node in graph.nodes if node <= until}
    if any(changes_a_shape(node) for node in in_order):
        return in_order
    found = set(decisive)
    waiting = list(decisive)
    while waiting:
        inputs = [each for each in waiting.pop().all_input_nodes if each not in found]
        found.update(inputs)
        waiting.extend(inputs)
    return found
