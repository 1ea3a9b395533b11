"""How the cost of each stage grows with the size of the graph: the slope of a line through the logarithms.

Small graphs are measured many at a time. One alone would stay in the processor's caches, where everything is faster: a
mere look at each node's meta takes five times as long in a graph of 100,000 nodes as in one of 1,000 that was just made.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence

from torch import fx

from benchmarks import workloads
from benchmarks.table import Row
from benchmarks.timing import exponent, process_seconds
from fxpasses import CollapseLeaves, DiffModes, NameNodes, PassManager, ProtectOutputs, PruneToOutputs
from fxpasses.capture import capture_symbolic
from fxpasses.capture.patching import without_collecting
from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.lazy_graph_module import with_own_graph
from fxpasses.graph.verify import verify

QUICK_SIZES = (1_000, 4_000, 16_000)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
AT_A_TIME = 30_000
"""Graphs of fewer nodes are measured together with others, of as many nodes in all."""

CONTROL = "a look at each node, for comparison"
"""What no stage of ours can be faster than: how its cost grows is the machine's doing."""

Stage = Callable[[fx.GraphModule, fx.GraphModule, str], object]
"""Runs on a named graph that is its own, beside one that it may only read; the last argument names a late value."""


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields the exponent of each stage on a chain."""
    sizes = QUICK_SIZES if quick else SIZES
    costs: dict[str, list[float]] = {}
    for size in sizes:
        for stage, seconds in stage_costs(size).items():
            costs.setdefault(stage, []).append(seconds)
    yield from (row(stage, sizes, seconds) for stage, seconds in costs.items())


def row(stage: str, sizes: Sequence[int], seconds: Sequence[float]) -> Row:
    """Returns the exponent, and microseconds a node at each size."""
    each = ", ".join(f"{cost / size * 1e6:.3g}" for size, cost in zip(sizes, seconds, strict=True))
    slope = exponent(sizes, seconds)
    return Row(f"growth of {stage}, {sizes[0]:,} to {sizes[-1]:,} nodes", slope, "exponent", f"µs a node: {each}")


def stage_costs(nodes: int, rounds: int = 3) -> dict[str, float]:
    """Returns the shortest process time of each stage on a chain of this size.

    Several chains take turns, unless one fills the caches alone. Python's garbage collector is off, as it is while an
    extractor is made: what it takes depends on all that the process holds.
    """
    with without_collecting():
        return _stage_costs(nodes, rounds)


def _stage_costs(nodes: int, rounds: int) -> dict[str, float]:
    models = [workloads.chain(nodes) for _ in range(max(1, AT_A_TIME // nodes))]
    name = workloads.last_step(models[0])
    costs = {"capture": min(process_seconds(lambda: list(map(capture_symbolic, models))) for _ in range(rounds))}
    captured = [capture_symbolic(model) for model in models]
    named = [NameNodes()(with_own_graph(each)).graph_module for each in captured]
    costs["name"] = _best(lambda own, _, __: NameNodes().call(own), captured, name, rounds)
    for stage, run in STAGES.items():
        costs[stage] = _best(run, named, name, rounds)
    return {stage: seconds / len(models) for stage, seconds in costs.items()}


def _best(stage: Stage, sources: Sequence[fx.GraphModule], name: str, rounds: int) -> float:
    """Returns the shortest process time of a stage on all of `sources`, one after the other."""
    seconds: list[float] = []
    for _ in range(rounds):
        pairs = [(with_own_graph(source), source) for source in sources]
        seconds.append(process_seconds(lambda pairs=pairs: [stage(own, other, name) for own, other in pairs]))
    return min(seconds)


STAGES: dict[str, Stage] = {
    CONTROL: lambda own, _, __: [node.meta.get("custom") for node in own.graph.nodes],
    "collapse": lambda own, _, __: CollapseLeaves([workloads.Step]).call(own),
    "diff": lambda own, other, _: DiffModes(other).call(own),
    "effects": lambda own, _, __: analyze_effects(own),
    "prune": lambda own, _, name: PruneToOutputs({name: name}).call(own),
    "protect": lambda own, _, __: ProtectOutputs().call(own),
    "manager": lambda own, _, name: PassManager([PruneToOutputs({name: name}), ProtectOutputs()])(own),
    "verify": lambda own, _, __: verify(own),
    "code": lambda own, _, __: own.code,
    "copy of the graph": lambda own, _, __: with_own_graph(own),
    "deep copy": lambda own, _, name: copy.deepcopy(_pruned(own, name)),
    "pickle": lambda own, _, name: pickle.loads(pickle.dumps(_pruned(own, name))),
}


def _pruned(graph_module: fx.GraphModule, name: str) -> fx.GraphModule:
    """Lets go of the model: copies take the modules with them."""
    return PruneToOutputs({name: name}).call(graph_module).graph_module
