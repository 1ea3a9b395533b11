"""What the pass manager costs, side by side with torch's own.

    python benchmarks/bench_manager.py

Process time of one thread, the best of several runs. Prints the tables of the README, and checks the three claims:
no-op passes over 4,000 nodes cost at least 50 times less than with torch's manager; verification of the structure
costs less than twice the same pipeline without; all of it grows linearly (fitted exponent at most 1.1).
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import fx, nn
from torch.fx.passes.infra.pass_base import PassResult
from torch.fx.passes.infra.pass_manager import PassManager as TorchPassManager

from fxpasses.graph.verify import verify
from fxpasses.manager import AuditMeta, CheckClaims, Instrument, PassManager, Provenance, VerifyStructure

SIZES = (1_000, 4_000, 16_000, 64_000)
PASSES = 10


def chain(nodes: int) -> fx.GraphModule:
    """Makes a graph of so many nodes, with an operation of one and one of two inputs in turn."""
    graph = fx.Graph()
    x = value = graph.placeholder("x")
    for index in range(nodes - 2):
        value = graph.call_function(torch.relu, (value,)) if index % 2 else graph.call_function(torch.add, (value, x))
    graph.output(value)
    return fx.GraphModule(nn.Module(), graph)


def nothing(graph_module: fx.GraphModule) -> PassResult:
    """Changes nothing."""
    return PassResult(graph_module, False)


def one_change(graph_module: fx.GraphModule) -> PassResult:
    """Changes one node."""
    node = next(iter(graph_module.graph.nodes)).next
    node.args = tuple(reversed(node.args))
    return PassResult(graph_module, True)


def best(function: Callable[[], object], repetitions: int = 5) -> float:
    """Returns the least process time of several runs, in milliseconds."""
    times: list[float] = []
    for _ in range(repetitions):
        gc.collect()
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times) * 1e3


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Returns the slope of a line through the logarithms: 1 is linear."""
    xs, ys = [math.log(size) for size in sizes], [math.log(each) for each in times]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)


def run(pass_: Callable[..., PassResult], instruments: Sequence[Instrument] = ()) -> Callable[[fx.GraphModule], object]:
    """Returns a function that runs the pass ten times over a graph, under our manager."""
    return PassManager([pass_] * PASSES, instruments=instruments)


def torch_run(pass_: Callable[..., PassResult]) -> Callable[[fx.GraphModule], object]:
    """Returns a function that runs the pass ten times over a graph, under torch's manager."""
    return TorchPassManager([pass_] * PASSES)


def side_by_side(nodes: int = 4_000) -> tuple[float, float]:
    """Prints ten passes over a graph under both managers; returns the two ratios that are claimed."""
    graph_module = chain(nodes)
    rows = {
        "10 no-op passes": (nothing, ()),
        "10 no-op passes, structure verified": (nothing, (VerifyStructure(),)),
        "10 no-op passes, claims checked": (nothing, (CheckClaims(),)),
        "10 no-op passes, provenance": (nothing, (Provenance(),)),
        "10 no-op passes, meta audited": (nothing, (AuditMeta(),)),
        "10 passes that change a node": (one_change, ()),
        "10 passes that change a node, structure verified": (one_change, (VerifyStructure(),)),
    }
    print(f"| {nodes} nodes, ms of process time | torch | fxpasses | torch / fxpasses |\n|---|---|---|---|")
    ours: dict[str, float] = {}
    theirs: dict[object, float] = {}
    for name, (pass_, instruments) in rows.items():
        if pass_ not in theirs:
            theirs[pass_] = best(partial(torch_run(pass_), graph_module), 3)
        manager = run(pass_, instruments)
        ours[name] = best(partial(manager, graph_module), 9)
        print(f"| {name} | {theirs[pass_]:.0f} | {ours[name]:.1f} | {theirs[pass_] / ours[name]:.0f} |", flush=True)
    verified = max(ours[f"{name}, structure verified"] / ours[name] for name in list(rows)[::5])
    return theirs[nothing] / ours["10 no-op passes"], verified


def growth() -> float:
    """Prints how the times grow with the graph; returns the largest exponent."""
    measured: dict[str, Callable[[fx.GraphModule], object]] = {
        "10 no-op passes": run(nothing),
        "10 no-op passes, structure verified": run(nothing, (VerifyStructure(),)),
        "10 passes that change a node": run(one_change),
        "10 passes that change a node, structure verified": run(one_change, (VerifyStructure(),)),
        "10 passes that change a node, provenance": run(one_change, (Provenance(),)),
        "verify": verify,
    }
    times: dict[str, list[float]] = {name: [] for name in measured}
    for nodes in SIZES:
        graph_module = chain(nodes)
        for name, function in measured.items():
            repetitions = 5 if nodes < SIZES[-1] else 3
            times[name].append(best(partial(function, graph_module), repetitions))
    print(f"\n| ms at | {' | '.join(map(str, SIZES))} nodes | exponent |\n|{'---|' * (len(SIZES) + 2)}")
    for name, row in times.items():
        print(f"| {name} | {' | '.join(f'{each:.1f}' for each in row)} | {exponent(SIZES, row):.2f} |")
    return max(exponent(SIZES, row) for row in times.values())


def main() -> None:
    """Measures, prints, and checks the claims."""
    torch.set_num_threads(1)
    cheaper, verified = side_by_side()
    steepest = growth()
    print(f"\n{cheaper:.0f} times cheaper than torch (claimed: 50); ", end="")
    print(f"verification costs {verified:.2f} times as much (claimed: under 2); exponent {steepest:.2f} (claimed: 1.1)")
    if cheaper < 50 or verified >= 2 or steepest > 1.1:
        raise SystemExit("a claim does not hold")


if __name__ == "__main__":
    main()
