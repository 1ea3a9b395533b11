"""`verify`: whether a graph module is well formed, with the nodes around whatever is not."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn

from fxpasses.errors import VerificationError
from fxpasses.graph.recorded_values import RecordedValues
from fxpasses.graph.spelling import spell
from fxpasses.graph.state import GraphState
from fxpasses.graph.verify.arguments import argument_structure_problems
from fxpasses.graph.verify.calls import call_problems
from fxpasses.graph.verify.meta import meta_problems
from fxpasses.graph.verify.problem import Problem
from fxpasses.graph.verify.structure import structure_problems

_SHOWN = 5
_AROUND = 3


def verify(graph_module: fx.GraphModule) -> None:
    """Raises `VerificationError` unless `graph_module` is well formed; linear in the number of nodes and uses.

    It looks at the graph, and at those of graph modules inside, for

    - nodes out of order, foreign or erased nodes as arguments, nodes hidden where no graph sees them;
    - `users` that are not the users, and the graph's own tables;
    - placeholders that do not come first or share a name, an output that is missing, double or not last;
    - names that Python cannot use, and names used twice;
    - targets that do not exist: modules, attributes, methods;
    - arguments that a function or a module does not take, or lacks;
    - meta that refers to nodes of other graphs, or holds the value of another operation.

    It looks at nothing that would take the model to run: no parameter is read.

    Raises:
        VerificationError: Something is malformed; the message lists what, with the nodes around it.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x.relu())
        >>> verify(graph_module)
        >>> list(graph_module.graph.nodes)[1].target = "no_such_method"
        >>> verify(graph_module)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fxpasses.errors.VerificationError: The graph is malformed: 'relu' calls a method ...
    """
    found = problems(graph_module)
    if found:
        raise VerificationError(describe(found))


def problems(graph_module: fx.GraphModule) -> list[Problem]:
    """Returns everything that is malformed in `graph_module`; see `verify`."""
    return list(Verifier().problems(GraphState.of(graph_module)))


class Verifier:
    """Verifies the same graph module again and again; remembers which recorded values it has computed."""

    def __init__(self) -> None:
        self._recorded: dict[nn.Module, RecordedValues] = {}

    def problems(self, state: GraphState) -> Iterator[Problem]:
        """Yields everything that is malformed; `state` is the graph module as it is now."""
        for path, columns in state.graphs.items():
            found = [*structure_problems(columns), *argument_structure_problems(columns)]
            yield from found
            yield from call_problems(columns, state.graph_module.get_submodule(path))
            yield from meta_problems(columns, None if found else self._recorded_of(state, path))

    def meta_problems(self, state: GraphState) -> Iterator[Problem]:
        """Yields what is wrong with meta alone."""
        for path, columns in state.graphs.items():
            yield from meta_problems(columns, self._recorded_of(state, path))

    def _recorded_of(self, state: GraphState, path: str) -> RecordedValues:
        owner = state.graph_module.get_submodule(path)
        return self._recorded.setdefault(owner, RecordedValues(owner))


def describe(found: list[Problem]) -> str:
    """Returns the message for what was found: what is wrong, and the nodes around it."""
    first = found[:_SHOWN]
    lines = ["The graph is malformed: " + first[0].text]
    lines += [f"Also: {problem.text}" for problem in first[1:]]
    lines += [f"And {len(found) - _SHOWN} more problems."] * (len(found) > _SHOWN)
    shown: set[int] = set()
    for problem in first:
        if problem.node is not None and id(problem.node) not in shown:
            shown.add(id(problem.node))
            lines += ["", *_around(problem.node)]
    return "\n".join(lines)


def _around(culprit: fx.Node) -> list[str]:
    nodes = list(culprit.graph.nodes)
    place = next((index for index, node in enumerate(nodes) if node is culprit), None)
    if place is None:
        return [f"--> {spell(culprit)}    (not in the graph)"]
    start, stop = max(place - _AROUND, 0), place + _AROUND + 1
    lines = [("--> " if node is culprit else "    ") + spell(node) for node in nodes[start:stop]]
    return ["    ..."] * (start > 0) + lines + ["    ..."] * (stop < len(nodes))
