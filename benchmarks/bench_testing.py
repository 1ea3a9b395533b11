"""What the property-testing kit does a second, how small its failures get, and whether it raises false alarms.

python -m benchmarks testing --quick
python -m benchmarks.bench_testing 10000    # every figure at full size; what ran is remembered in a file
"""

from __future__ import annotations

import io
import json
import operator
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from functorch.compile import minifier
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import fx, nn

from benchmarks.table import Row
from benchmarks.timing import process_seconds
from fxpasses import testing as fxt
from fxpasses.errors import LawViolation
from fxpasses.manager import PassResult
from fxpasses.testing import strategies as fxst
from fxpasses.testing.models.sample import sample_case
from fxpasses.testing.shared_run import select

PROGRESS = Path(__file__).with_name(".testing_progress.json")
CHANGED = ["the graph was changed"]
QUIET = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


def rows(quick: bool = False, models: int | None = None) -> Iterator[Row]:
    """Yields the figures of the kit."""
    count = models or (300 if quick else 10_000)
    examples = 150 if quick else 600
    yield runnable(count)
    yield false_alarms(min(count, 10_000))
    yield from speeds(examples)
    yield shared_run(examples // 3)
    for nodes in (10, 30, 100) if quick else (10, 30, 100, 300):
        yield from minimized(nodes)
    yield from shrunk()


def _resumed(name: str, count: int, check: Callable[[int], bool]) -> tuple[int, int]:
    """Counts for how many seeds a check holds; goes on where a run that was stopped was."""
    known: dict[str, list[int]] = json.loads(PROGRESS.read_text()) if PROGRESS.exists() else {}
    done, held = known.get(name, [0, 0])
    for seed in range(done, count):
        held += check(seed)
        if seed % 250 == 249 or seed == count - 1:
            PROGRESS.write_text(json.dumps({**known, name: [seed + 1, held]}))
            known = json.loads(PROGRESS.read_text())
    return held, max(done, count)


def runnable(count: int) -> Row:
    """How many generated models run eagerly, in both modes; none is filtered."""
    held, of = _resumed("runnable", count, _runs)
    return Row("generated models that run", 100 * held / of, "%", f"{held:,} of {of:,}, in both modes, none filtered")


def _runs(seed: int) -> bool:
    built = sample_case(seed, features=fxst.ALL | set(fxst.BEYOND_FX)).build()
    try:
        for training in (built.module.training, not built.module.training):
            built.module.train(training)(*built.args, **built.kwargs)
    except Exception as error:
        print(f"seed {seed}: {error!r}")
        return False
    return True


def nothing(graph_module: fx.GraphModule) -> PassResult:
    """A right pass that changes nothing."""
    return PassResult(graph_module, False)


def relu_as_function(graph_module: fx.GraphModule) -> PassResult:
    """A right pass: spells `x.relu()` as `torch.relu(x)`."""
    found = graph_module.graph.find_nodes(op="call_method", target="relu")
    for node in found:
        node.op, node.target = "call_function", torch.relu
    return PassResult(graph_module, bool(found))


def false_alarms(count: int) -> Row:
    """How often a law finds fault with a right pass."""
    held, of = _resumed("false alarms", count, _is_silent)
    return Row("false alarms", of - held, "cases", f"of {of:,} cases with a right pass, every default law by turns")


def _is_silent(seed: int) -> bool:
    laws = fxt.DEFAULT_LAWS
    pass_ = (nothing, relu_as_function)[seed % 2]
    try:
        fxt.check_pass(pass_, sample_case(seed), laws=[laws[seed // 2 % len(laws)]])
    except LawViolation as error:
        print(f"seed {seed}: {str(error)[:300]}")
        return False
    return True


def speeds(examples: int) -> Iterator[Row]:
    """How many examples hypothesis gives a second, next to what it costs to draw as many numbers for nothing."""
    numbers = _rate(st.lists(st.binary(min_size=6, max_size=6), min_size=11, max_size=11), _kept, examples)
    for name, strategy, use, size in (
        ("graph_modules() of about 10 nodes", fxst.graph_modules(min_nodes=5, max_nodes=12), _kept, _size),
        ("graph_modules()", fxst.graph_modules(), _kept, _size),
        ("cases() with one law", fxst.cases(), _check, _size_of_case),
    ):
        sizes = _sizes(strategy, size, examples)
        rate = _rate(strategy, use, examples)
        detail = f"median {sizes[len(sizes) // 2]} nodes, 95 % up to {sizes[len(sizes) * 95 // 100]}"
        yield Row(
            name, rate, "a second", f"{detail}; hypothesis alone draws 11 byte strings {numbers:.0f} times a second"
        )


def _rate(strategy: Any, use: Callable[[Any], None], examples: int) -> float:
    """How many examples a second are drawn and used: the least disturbed of three runs, after one to warm up."""
    draw = _drawing(strategy, use, examples)
    draw()
    return examples / min(process_seconds(draw) for _ in range(3))


def _sizes(strategy: Any, size: Callable[[Any], int], examples: int) -> list[int]:
    sizes: list[int] = []
    _drawing(strategy, lambda value: sizes.append(size(value)), examples)()
    return sorted(sizes)


def _drawing(strategy: Any, use: Callable[[Any], None], examples: int) -> Callable[[], None]:
    @settings(QUIET, max_examples=examples)
    @given(strategy)
    def draw(value: Any) -> None:
        use(value)

    return draw


def _kept(_value: Any) -> None:
    """Uses a value for nothing."""


def _size(graph_module: fx.GraphModule) -> int:
    return sum(node.op.startswith("call") for node in graph_module.graph.nodes)


def _size_of_case(case: fxt.Case) -> int:
    return _size(fx.symbolic_trace(case.module))


def _check(case: fxt.Case) -> None:
    fxt.check_pass(nothing, case, laws=[fxt.Equivalent(modes=("eval",))])


def shared_run(examples: int) -> Row:
    """How much less time the laws of a suite take over shared examples than each by itself."""
    ratios: list[float] = []
    for _ in range(3):
        suite = fxt.pass_suite(
            nothing, settings=settings(QUIET, max_examples=examples), vacuous={"Equivalent": CHANGED}
        )
        laws = [test.shared_law for name, test in vars(suite).items() if name.startswith("test_")]
        alone = sum(process_seconds(law) for law in laws)
        select(laws)
        ratios.append(alone / sum(process_seconds(law) for law in laws))
    return Row("a suite of ten laws", sorted(ratios)[1], "times faster", f"than each law by itself; {examples} models")


def random_graph(nodes: int) -> fx.GraphModule:
    """A graph of this many operations, with one `tanh` whose value reaches one `sub`."""
    source = random.Random(nodes)
    graph = fx.Graph()
    values = [graph.placeholder("x"), graph.placeholder("y")]
    for index in range(nodes):
        one, other = source.choice(values[-4:]), source.choice(values[-8:])
        if index == nodes // 3:
            values.append(graph.call_function(torch.tanh, (one,)))
        elif index == nodes - 2:
            values.append(graph.call_function(operator.sub, (values[-1], other)))
        elif index % 2:
            values.append(graph.call_function(source.choice((torch.add, torch.mul)), (values[-1], other)))
        else:
            values.append(graph.call_function(source.choice((torch.sin, torch.cos, torch.relu)), (values[-1],)))
    graph.output(values[-1])
    return fx.GraphModule(nn.Module(), graph)


def tanh_reaches_sub(graph_module: fx.GraphModule, _args: Sequence[Any]) -> bool:
    """Whether some `tanh` is among what some `sub` is computed from."""
    reached: set[fx.Node] = set()
    for node in graph_module.graph.nodes:
        if node.target is torch.tanh or reached.intersection(node.all_input_nodes):
            reached.add(node)
    return any(node.target is operator.sub for node in reached)


def minimized(nodes: int) -> Iterator[Row]:
    """How small and how fast a failing graph gets, next to torch's minifier."""
    graph_module, args = random_graph(nodes), [torch.ones(2, 3), torch.ones(2, 3)]
    began = time.process_time()
    reduced = fxt.minimize(graph_module, args, tanh_reaches_sub)
    ours = time.process_time() - began
    theirs, left, queries = _by_torch(graph_module, args)
    size = len(reduced.graph_module.graph.nodes)
    yield Row(f"minimize of {nodes} nodes: nodes left", size, "nodes", f"torch's minifier leaves {left}")
    yield Row(f"minimize of {nodes} nodes: queries", reduced.queries, "queries", f"torch's minifier asks {queries}")
    yield Row(f"minimize of {nodes} nodes: time", ours, "s", f"torch's minifier takes {theirs:.3g} s")


def _by_torch(graph_module: fx.GraphModule, args: list[torch.Tensor]) -> tuple[float, int, int]:
    queries, smallest = 0, len(graph_module.graph.nodes)

    def fails(candidate: fx.GraphModule, inputs: Sequence[Any]) -> bool:
        nonlocal queries, smallest
        queries += 1
        found = tanh_reaches_sub(candidate, inputs)
        smallest = min(smallest, len(candidate.graph.nodes)) if found else smallest
        return found

    began = time.process_time()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        minifier(fx.GraphModule(graph_module, graph_module.graph), args, fails, dump_state=lambda *_: None)
    return time.process_time() - began, smallest, queries


def shrunk() -> Iterator[Row]:
    """How small the first failure of a bug gets, and how many models and how much time that takes."""
    from benchmarks.shrunk_bugs import BUGS, shrink

    for name, check in BUGS.items():
        found = shrink(check)
        if found is None:
            yield Row(f"shrunk: {name}", float("nan"), "nodes", "not found")
        else:
            detail = f"{found.calls} calls and {found.seconds:.1f} s from the first failure, in model {found.first}"
            yield Row(f"shrunk: {name}", found.nodes, "nodes", detail)


def main() -> None:
    """Prints every figure, the costly ones at the size that the command line gives."""
    from benchmarks.table import milliseconds

    began = time.process_time()
    for row in rows(models=int(sys.argv[1]) if len(sys.argv) > 1 else 10_000):
        print(f"{row.what}: {row.value:.4g} {row.unit}; {row.detail}", flush=True)
    print(f"process time {milliseconds(time.process_time() - began)}")


if __name__ == "__main__":
    main()
