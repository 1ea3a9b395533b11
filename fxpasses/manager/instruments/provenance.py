"""`Provenance`: which passes made or changed each node, and what of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import fx

from fxpasses.errors import UnknownNodeError
from fxpasses.graph.meta_state import MetaState, compare_meta
from fxpasses.graph.state import GraphState
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.needs import place_text


class Cause(NamedTuple):
    """What one pass did to a node.

    Attributes:
        pass_name: The pass.
        position: Its place in the pipeline.
        action: `made`, `edited` or `moved`.
        fields: What of the node is different: `target`, `args`, `kwargs`, `name`, `type`, `op`, or `meta[...]`.
        replaces: The names of the nodes in whose place it stands, if it was made for that.
    """

    pass_name: str
    position: tuple[int, ...]
    action: str
    fields: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Says it in a line."""
        what = f" {', '.join(self.fields)}" if self.fields else " it"
        instead = f" in place of {', '.join(self.replaces)}" if self.replaces else ""
        return f"{self.pass_name} (pass {place_text(self.position)}) {self.action}{what}{instead}"


Chain = tuple[Cause, ...]


class Provenance(Instrument):
    """Records which passes made or changed each node.

    It compares the graph before and after each pass, so that it does not matter how a pass changes it. What is
    known of a node follows it into a new graph, by its name, and to the node that takes its place.

    Example:
        >>> import torch
        >>> from fxpasses.manager import PassManager
        >>> def to_sigmoid(graph_module):
        ...     list(graph_module.graph.nodes)[1].target = torch.sigmoid
        >>> provenance = Provenance()
        >>> graph_module = fx.symbolic_trace(lambda x: torch.relu(x))
        >>> _ = PassManager([to_sigmoid], instruments=[provenance])(graph_module)
        >>> [str(cause) for cause in provenance.why("relu")]
        ['to_sigmoid (pass 1) edited target']
    """

    def __init__(self) -> None:
        self._nodes: list[fx.Node] = []
        self._chains: dict[fx.Node, Chain] = {}
        self._before: MetaState | None = None

    def why(self, node: fx.Node | str) -> Chain:
        """Returns what the passes did to a node, and to those that it replaced, in order; nothing if nobody did.

        Args:
            node: A node of the resulting graph, or its name.

        Raises:
            UnknownNodeError: The graph that the last run left has no such node.
        """
        found = next((each for each in self._nodes if each is node or each.name == node), None)
        if found is None:
            name = node if isinstance(node, str) else node.name
            raise UnknownNodeError(f"The graph that the last run left has no node {name!r}.")
        return self._chains.get(found, ())

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Forgets other runs."""
        state = GraphState.of(graph_module)
        self._nodes, self._chains, self._before = state.columns.nodes, {}, MetaState.of(state)

    def after_pass(self, step: Step) -> None:
        """Compares the graph with what it was before the pass."""
        after = MetaState.of(step.after)
        self._carry_over(step)
        self._record_made(step)
        for node, fields in self._edited(step, after).items():
            self._add(node, step, "edited", fields)
        for node in step.change.moved:
            self._add(node, step, "moved")
        self._nodes, self._before = step.after.columns.nodes, after

    def _carry_over(self, step: Step) -> None:
        """Takes the chains of the old graph's nodes to those of the same name, if the graph is another one."""
        old, new = step.before.columns, step.after.columns
        if old.graph is new.graph:
            return
        by_name = dict(zip(new.name, new.nodes, strict=True))
        chains = {name: self._chains.get(node) for name, node in zip(old.name, old.nodes, strict=True)}
        self._chains.update({by_name[name]: chain for name, chain in chains.items() if chain and name in by_name})

    def _record_made(self, step: Step) -> None:
        """Starts the chain of each new node with those of the nodes that it replaces."""
        replaced: dict[fx.Node, list[fx.Node]] = {}
        for old, new in step.change.replaced.items():
            replaced.setdefault(new, []).append(old)
        for node in step.change.added:
            old = replaced.get(node, [])
            self._chains[node] = tuple(cause for each in old for cause in self._chains.get(each, ()))
            self._add(node, step, "made", replaces=tuple(each.name for each in old))

    def _edited(self, step: Step, after: MetaState) -> dict[fx.Node, tuple[str, ...]]:
        """Returns what of each node is different, its meta included."""
        edited = dict(step.change.edited)
        changes = {} if self._before is None else compare_meta(self._before, after)
        for node, change in changes.items():
            keys = sorted({*change.lost, *change.gained, *change.edited})
            edited[node] = (*edited.get(node, ()), *(f"meta[{key!r}]" for key in keys))
        return edited

    def _add(
        self, node: fx.Node, step: Step, action: str, fields: tuple[str, ...] = (), replaces: tuple[str, ...] = ()
    ) -> None:
        cause = Cause(step.name, step.position, action, fields, replaces)
        self._chains[node] = (*self._chains.get(node, ()), cause)
