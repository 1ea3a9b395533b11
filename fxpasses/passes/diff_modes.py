"""`DiffModes`: what differs between the graph of a model in training mode and the one in evaluation mode.

The graphs are aligned by qualified name. What is not alike at a glance is turned into networkx graphs, and compared
node by node and edge by edge. That is near-linear; a general graph isomorphism takes half a minute on a chain of 4,000
nodes and would tell less.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import fx

from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.alike import Alike
from fxpasses.graph.digraph import node_keys, to_networkx
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.graph.spelling import spell_call, spell_calls
from fxpasses.manager import Pass, PassResult

if TYPE_CHECKING:
    import networkx as nx

Status = Literal["only in train", "only in eval", "changed", "rewired", "reordered", "same"]


@dataclass(frozen=True)
class Change:
    """One node that differs: its name, how it differs, and what it is in either mode."""

    name: str
    status: Status
    train: str | None = None
    eval: str | None = None

    def __str__(self) -> str:
        if self.train is not None and self.eval is not None and self.train != self.eval:
            return f"{self.name}: {self.status}: {self.train} in train mode, {self.eval} in eval mode"
        return f"{self.name}: {self.status}"


@dataclass(frozen=True)
class ModeDiff:
    """The difference between two graphs whose nodes are aligned by qualified name.

    Attributes:
        only_train: Nodes that the graph of training mode alone has, in its order.
        only_eval: Nodes that the graph of evaluation mode alone has, in its order.
        changed: Nodes of the same name with another op, target or constant argument.
        rewired: Nodes of the same name that do the same with other inputs.
        reordered: Nodes that run at another place relative to the others; as few as possible.
    """

    only_train: tuple[Change, ...] = ()
    only_eval: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    rewired: tuple[Change, ...] = ()
    reordered: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return any((self.only_train, self.only_eval, self.changed, self.rewired, self.reordered))

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, one kind after another."""
        return (*self.only_train, *self.only_eval, *self.changed, *self.rewired, *self.reordered)

    def restricted_to(self, names: Collection[str]) -> ModeDiff:
        """Returns the part of the difference that concerns the nodes in `names`."""
        kinds = (self.only_train, self.only_eval, self.changed, self.rewired, self.reordered)
        return ModeDiff(*(tuple(change for change in kind if change.name in names) for kind in kinds))

    def __str__(self) -> str:
        if not self:
            return "train and eval mode compute the same graph"
        return "\n".join(str(change) for change in self.changes)


class DiffResult(PassResult):
    """The outcome of `DiffModes`."""

    diff: ModeDiff


@dataclass(frozen=True)
class DiffModes(Pass):
    """Compares the graph it runs on, taken as the one of training mode, with the one of evaluation mode.

    An analysis: nothing is changed.

    Attributes:
        eval_graph_module: The graph of evaluation mode, named as the other one.

    Example:
        >>> import torch
        >>> class Noisy(torch.nn.Module):
        ...     def forward(self, x):
        ...         return torch.dropout(x, 0.5, self.training) if self.training else x.abs()
        >>> from fxpasses.capture import capture_symbolic
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> train, eval = (NameNodes()(capture_symbolic(Noisy(), training=mode)).graph_module for mode in (True, False))
        >>> print(DiffModes(eval)(train).diff)
        dropout: only in train
        abs: only in eval
        output: rewired: from dropout in train mode, from abs in eval mode
    """

    eval_graph_module: fx.GraphModule

    needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES, CALLS})

    def __post_init__(self) -> None:
        """Checks the other graph."""
        if not isinstance(self.eval_graph_module, fx.GraphModule):
            raise ArgumentTypeError(f"DiffModes takes the other mode's GraphModule, got {self.eval_graph_module!r}.")

    def call(self, graph_module: fx.GraphModule) -> DiffResult:
        """Compares; see the class."""
        diff = diff_graphs(graph_module.graph, self.eval_graph_module.graph)
        return DiffResult(graph_module, False, diff=diff)


def diff_graphs(train: fx.Graph, eval: fx.Graph) -> ModeDiff:  # noqa: A002 - the mode's name in torch
    """Compares two graphs whose nodes have qualified names.

    Args:
        train: The graph of training mode.
        eval: The graph of evaluation mode.

    Returns:
        What differs. It is empty if and only if both graphs run the same operations, with the same constants, on
        the same inputs, in the same order.
    """
    names, others = node_keys(train), node_keys(eval)
    suspects = _suspects(names, others)
    if not suspects and _is_aligned(names, others):
        return ModeDiff()
    present, there = dict.fromkeys(names.values()), {name: place for place, name in enumerate(others.values())}
    common = [name for name in present if name in there]
    moved = [Change(common[index], "reordered") for index in _moved([there[name] for name in common])]
    if not suspects:
        return ModeDiff(reordered=tuple(moved))
    first, second = to_networkx(train, suspects), to_networkx(eval, suspects)
    ours, theirs = ({name: node for node, name in each.items()} for each in (names, others))
    common = [name for name in common if name in suspects]
    changed = [name for name in common if _description(first, name) != _description(second, name)]
    altered = set(changed)
    rewired = [name for name in common if name not in altered and _inputs(first, name) != _inputs(second, name)]
    return ModeDiff(
        tuple(Change(name, "only in train", train=spell_call(ours[name])) for name in present if name not in there),
        tuple(Change(name, "only in eval", eval=spell_call(theirs[name])) for name in there if name not in present),
        tuple(Change(name, "changed", *spell_calls(ours[name], theirs[name])) for name in changed),
        tuple(Change(name, "rewired", _wiring(first, name), _wiring(second, name)) for name in rewired),
        tuple(moved),
    )


def _suspects(names: Mapping[fx.Node, str], others: Mapping[fx.Node, str]) -> set[str]:
    """Returns the names of the nodes that may differ: most of two modes' graphs is alike, at a glance."""
    alike = Alike(names, others)
    if _is_aligned(names, others):
        pairs = zip(names.items(), others, strict=True)
        return {name for (node, name), other in pairs if not alike.nodes(node, other)}
    ours, theirs = ({name: node for node, name in each.items()} for each in (names, others))
    suspects = {name for name, node in ours.items() if name not in theirs or not alike.nodes(node, theirs[name])}
    return suspects.union(name for name in theirs if name not in ours)


def _is_aligned(names: Mapping[fx.Node, str], others: Mapping[fx.Node, str]) -> bool:
    """Whether both graphs have the same names in the same order."""
    return list(names.values()) == list(others.values())


def diff_as_networkx(train: fx.Graph, eval: fx.Graph) -> nx.MultiDiGraph[str]:  # noqa: A002 - as above
    """Returns the union of both graphs, with a `status` on each node: how it differs, or `same`.

    Edges carry `modes`, a tuple of the modes in which the value is used there.

    Example:
        >>> graph = fx.symbolic_trace(lambda x: x + 1).graph
        >>> diff_as_networkx(graph, graph).nodes["add"]["status"]
        'same'
    """
    first, second = to_networkx(train), to_networkx(eval)
    union = first.copy()
    union.clear_edges()
    union.add_nodes_from((name, data) for name, data in second.nodes(data=True) if name not in first)
    status = {change.name: change.status for change in diff_graphs(train, eval).changes}
    for name, data in union.nodes(data=True):
        data["status"] = status.get(name, "same")
    uses: dict[tuple[str, str, int], tuple[str, ...]] = {}
    for mode, graph in (("train", first), ("eval", second)):
        for source, user, argument in graph.edges(data="argument"):
            uses[source, user, argument] = (*uses.get((source, user, argument), ()), mode)
    for (source, user, argument), modes in uses.items():
        union.add_edge(source, user, argument=argument, modes=modes)
    return union


def _description(graph: nx.MultiDiGraph[str], name: str) -> tuple[Any, ...]:
    data: Mapping[str, Any] = graph.nodes[name]
    return (data["op"], data["target"], data["constants"])


def _inputs(graph: nx.MultiDiGraph[str], name: str) -> list[tuple[int, str]]:
    return sorted((argument, source) for source, _, argument in graph.in_edges(name, data="argument"))


def _wiring(graph: nx.MultiDiGraph[str], name: str) -> str:
    return "from " + ", ".join(source for _, source in _inputs(graph, name))


def _moved(positions: list[int]) -> list[int]:
    """Returns the indices outside of a longest increasing subsequence of `positions` (patience sorting)."""
    if all(map(operator.lt, positions, positions[1:])):
        return []
    tails: list[int] = []
    ends: list[int] = []
    previous: list[int | None] = []
    for index, position in enumerate(positions):
        place = bisect.bisect_left(tails, position)
        previous.append(ends[place - 1] if place else None)
        tails[place : place + 1] = [position]
        ends[place : place + 1] = [index]
    kept: set[int] = set()
    index: int | None = ends[-1]
    while index is not None:
        kept.add(index)
        index = previous[index]
    return [index for index in range(len(positions)) if index not in kept]
