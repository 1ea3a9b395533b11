"""`AuditMeta`: which meta each pass lost, on which nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from torch import fx

from fxpasses.graph.meta_state import Meta, MetaState, compare_meta, shared_keys
from fxpasses.graph.state import GraphState
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.needs import place_text


class MetaLoss(NamedTuple):
    """A key of meta that a pass lost.

    Attributes:
        pass_name: The pass.
        position: Its place in the pipeline.
        key: The key in `node.meta`.
        nodes: The names of the nodes without it.
        reason: `removed`: it was taken off the nodes. `replaced`: the nodes stand for others that had it.
            `new`: the nodes are new, and all operations before had it.
    """

    pass_name: str
    position: tuple[int, ...]
    key: str
    nodes: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        """Says it in a line."""
        which = ", ".join(self.nodes[:5]) + (f" and {len(self.nodes) - 5} more" if len(self.nodes) > 5 else "")
        return f"{self.pass_name} (pass {place_text(self.position)}) lost meta[{self.key!r}] on {which} ({self.reason})"


class AuditMeta(Instrument):
    """Records which meta each pass lost, on which nodes; `fxpasses.graph.edit` makes nodes that keep it.

    Args:
        keys: The keys to look at; all if not given.

    Attributes:
        losses: What was lost in the last run, in order.

    Example:
        >>> from fxpasses.manager import PassManager
        >>> def forgetful(graph_module):
        ...     for node in graph_module.graph.nodes:
        ...         node.meta.clear()
        >>> audit = AuditMeta()
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> list(graph_module.graph.nodes)[1].meta["cost"] = 3
        >>> _ = PassManager([forgetful], instruments=[audit])(graph_module)
        >>> print(audit)
        forgetful (pass 1) lost meta['cost'] on add (removed)
    """

    def __init__(self, keys: Collection[str] | None = None) -> None:
        self.keys = keys
        self.losses: list[MetaLoss] = []
        self._before: MetaState | None = None

    def __str__(self) -> str:
        """Returns a line for each loss."""
        return "\n".join(map(str, self.losses)) or "no meta was lost"

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Forgets other runs."""
        self.losses = []
        self._before = MetaState.of(GraphState.of(graph_module))

    def after_pass(self, step: Step) -> None:
        """Compares the meta with what it was before the pass."""
        before, after = self._before, MetaState.of(step.after)
        self._before = after
        if before is None:
            return
        found: dict[tuple[str, str], list[str]] = {}
        for node, key, reason in _lost(step, before, after):
            if self.keys is None or key in self.keys:
                found.setdefault((key, reason), []).append(node.name)
        for (key, reason), names in found.items():
            self.losses.append(MetaLoss(step.name, step.position, key, tuple(names), reason))


def _lost(step: Step, before: MetaState, after: MetaState) -> Iterator[tuple[fx.Node, str, str]]:
    for node, change in compare_meta(before, after).items():
        yield from ((node, key, "removed") for key in change.lost)
    if not step.change.added:
        return
    old = dict(zip(before.state.columns.nodes, before.metas, strict=True))
    common = list(shared_keys(_of_operations(old)))
    stands_for = {new: replaced for replaced, new in step.change.replaced.items()}
    for node in step.change.added:
        if node in stands_for:
            yield from ((node, key, "replaced") for key in old.get(stands_for[node], {}) if key not in node.meta)
        else:
            yield from ((node, key, "new") for key in common if key not in node.meta)


def _of_operations(metas: dict[fx.Node, Meta]) -> list[Meta]:
    return [meta for node, meta in metas.items() if node.op.startswith("call_")]
