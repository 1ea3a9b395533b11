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
        if step.after is not step.before:
            self._carry_over(step)
            self._record_structure(step)
        if self._before is not None:
            for node, change in compare_meta(self._before, after).items():
                fields = [f"meta[{key!r}]" for key in sorted({*change.lost, *change.gained, *change.edited})]
                self._add(node, step, "edited", tuple(fields))
        self._nodes, self._before = step.after.columns.nodes, after

    def _carry_over(self, step: Step) -> None:
        """Takes the chains of the old graph's nodes to those of the same name, if the graph is another one."""
        old, new = step.before.columns, step.after.columns
        if old.graph is new.graph:
            return
        by_name = dict(zip(new.name, new.nodes, strict=True))
        chains = {name: self._chains.get(node) for name, node in zip(old.name, old.nodes, strict=True)}
        self._chains.update({by_name[name]: chain for name, chain in chains.items() if chain and name in by_name})

    def _record_structure(self, step: Step) -> None:
        change = step.change
        replaced: dict[fx.Node, list[fx.Node]] = {}
        for old, new in change.replaced.items():
            replaced.setdefault(new, []).append(old)
        for node in change.added:
            old = replaced.get(node, [])
            self._chains[node] = tuple(cause for each in old for cause in self._chains.get(each, ()))
            self._add(node, step, "made", replaces=tuple(each.name for each in old))
        for node, fields in change.edited.items():
            self._add(node, step, "edited", fields)
        for node in change.moved:
            self._add(node, step, "moved")
        for node in change.removed:
            self._chains.pop(node, None)

    def _add(
        self, node: fx.Node, step: Step, action: str, fields: tuple[str, ...] = (), replaces: tuple[str, ...] = ()
    ) -> None:
        chain = self._chains.get(node, ())
        if action == "edited" and chain and chain[-1][:3] == (step.name, step.position, action):
            self._chains[node] = (*chain[:-1], chain[-1]._replace(fields=chain[-1].fields + fields))
        else:
            self._chains[node] = (*chain, Cause(step.name, step.position, action, fields, replaces))
