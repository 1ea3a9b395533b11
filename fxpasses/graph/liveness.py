"""Which nodes a set of values needs: what they are computed from, and the writes that they depend on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import fx

from fxpasses.graph.effects import Effects
from fxpasses.graph.effects.storages import NOWHERE

StateWrites = Literal["observed", "keep", "drop"]
RandomDraws = Literal["free", "keep"]


def live_nodes(
    graph: fx.Graph,
    outputs: Iterable[fx.Node],
    effects: Effects,
    *,
    state_writes: StateWrites = "observed",
    rng: RandomDraws = "free",
) -> set[fx.Node]:
    """Returns the least set of nodes that computes `outputs` as the whole graph does.

    In it are the outputs; the operands of each of its nodes; every node that may write into memory which a node
    of the set reads later; every placeholder; and every node that changes how later ones run, such as one that switches
    autograd off. A write that happens after the last read by a node of the set is not needed, nor is an assertion.

    An output is read when it is made: what happens to it afterwards does not matter. To ask what the graph needs
    as it is written, with its outputs read at the end, pass the output node itself.

    Args:
        graph: The graph whose nodes the other arguments refer to.
        outputs: The nodes whose values are wanted.
        effects: What the nodes write; see `analyze_effects`.
        state_writes: Which writes into parameters, buffers and arguments are needed beside those that a node of the
            set reads later in the same call. `observed`: those into parameters and buffers that a node of the set reads
            at all, since a later call reads them; running statistics of a normalisation that is itself removed
            are not kept up. `keep`: all of them. `drop`: none.
        rng: Whether random draws that no output needs may go. `free`: they may, which gives the ones that stay other
            numbers for the same seed. `keep`: all draws stay.

    Example:
        >>> from fxpasses.graph.effects import analyze_effects
        >>> def model(x):
        ...     a = x + 1
        ...     a.mul_(2)
        ...     b = a + 3
        ...     a.mul_(4)
        ...     return b
        >>> graph_module = fx.symbolic_trace(model)
        >>> nodes = list(graph_module.graph.nodes)
        >>> live = live_nodes(graph_module.graph, [nodes[3]], analyze_effects(graph_module))
        >>> [node.name for node in nodes if node in live]
        ['x', 'add', 'mul_', 'add_1']
    """
    search = _Search(graph, effects, state_writes)
    for node in outputs:
        search.need(node)
    for node in graph.nodes:
        lasting = state_writes == "keep" and effects.writes.get(node, NOWHERE) & (effects.state | effects.inputs)
        drawn = rng == "keep" and node in effects.random
        if lasting or drawn or node.op == "placeholder" or node in effects.ambient:
            search.need(node)
    return search.run()


class _Search:
    """Follows operands and memory backwards from what is needed; each edge and each write is looked at once."""

    def __init__(self, graph: fx.Graph, effects: Effects, state_writes: StateWrites) -> None:
        self._effects = effects
        self._order = {node: position for position, node in enumerate(graph.nodes)}
        self._carried = effects.state if state_writes == "observed" else NOWHERE
        self._live: set[fx.Node] = set()
        self._waiting: list[fx.Node] = []
        # The writers of each storage, the last one first, so that those before a position are at the end.
        self._writers: dict[int, list[fx.Node]] = {}
        self._reshapers: dict[int, list[fx.Node]] = {}
        for node in reversed(graph.nodes):
            for storage in effects.writes.get(node, NOWHERE):
                self._writers.setdefault(storage, []).append(node)
                if node in effects.reshapes:
                    self._reshapers.setdefault(storage, []).append(node)

    def need(self, node: fx.Node) -> None:
        """Puts a node into the set."""
        if node not in self._live:
            self._live.add(node)
            self._waiting.append(node)

    def run(self) -> set[fx.Node]:
        """Adds all that the nodes of the set need."""
        while self._waiting:
            node = self._waiting.pop()
            for operand in node.all_input_nodes:
                self.need(operand)
            self._read(node)
        return self._live

    def _read(self, node: fx.Node) -> None:
        effects = self._effects
        writers = self._reshapers if node in effects.shape_readers else self._writers
        if not writers:
            return
        read = [effects.storages.get(operand, NOWHERE) for operand in node.all_input_nodes]
        read += [effects.state_reads.get(node, NOWHERE)]
        if node.op == "get_attr":
            read.append(effects.storages.get(node, NOWHERE))
        for storage in NOWHERE.union(*read):
            self._need_writers(writers, storage, self._order[node])

    def _need_writers(self, writers: dict[int, list[fx.Node]], storage: int, position: int) -> None:
        """Puts the writers of a storage that run before a position into the set, and forgets them."""
        remaining = writers.get(storage, [])
        all_of_them = storage in self._carried
        while remaining and (all_of_them or self._order[remaining[-1]] < position):
            self.need(remaining.pop())
