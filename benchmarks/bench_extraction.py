"""Making an extractor: against torchvision, and against two bare traces, on chains and on real models."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable, Iterator

from torch import nn

from benchmarks import workloads
from benchmarks.peers import torchvision_extractor, two_bare_traces
from benchmarks.table import Row, milliseconds
from benchmarks.timing import Times, alternating, geometric_mean, process_seconds, process_seconds_up_to
from fxpasses import create_feature_extractor
from fxpasses.feature_extraction.both_modes import CaptureOptions, capture_both

FASTER = "times faster than torchvision"
TRACES = "times two bare traces"


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields every comparison; without `quick` it takes torchvision many minutes."""
    sizes = (900, 3_000) if quick else (900, 3_000, 9_000)
    yield from (row for size in sizes for row in chain_rows(size))
    if not quick:
        yield chain_against_torchvision_up_to(30_000, times=85)
    models = ("resnet50", "vit_b_16", "densenet201") if quick else workloads.REAL_MODELS
    yield from real_rows(models)
    yield from against_traces(["chain", "chain with modes", "residual", "branchy", "shared"], 3_000)


def chain_rows(nodes: int, rounds: int = 5) -> Iterator[Row]:
    """Yields what a chain of this size costs, against both peers."""
    yield chain_against_torchvision(nodes, rounds)
    yield from against_traces(["chain"], nodes, rounds)


def chain_against_torchvision(nodes: int, rounds: int = 5) -> Row:
    """Returns how many times faster than torchvision an extractor of a chain's last step is made."""
    model = workloads.chain(nodes)
    times = _extraction(model, workloads.last_step(model), rounds, warm_up=nodes < 9_000)
    detail = _detail(times, "fxpasses", "torchvision")
    return Row(f"extractor of a chain, {nodes:,} nodes", times.ratio("torchvision", "fxpasses"), FASTER, detail)


def chain_against_torchvision_up_to(nodes: int, times: float, rounds: int = 5) -> Row:
    """Returns the same, or `times` if torchvision was stopped after that many times as long in most rounds."""
    model = workloads.chain(nodes)
    name = workloads.last_step(model)
    theirs = functools.partial(torchvision_extractor, model, [name])
    ours: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        ours.append(process_seconds(functools.partial(create_feature_extractor, model, [name])))
        ratios.append(process_seconds_up_to(theirs, times * ours[-1]) / ours[-1])
    stopped = sum(ratio >= times for ratio in ratios)
    detail = (
        f"fxpasses {milliseconds(statistics.median(ours))}; torchvision was stopped in {stopped} of {rounds} rounds"
    )
    return Row(f"extractor of a chain, {nodes:,} nodes", statistics.median(ratios), FASTER, detail)


def against_traces(kinds: Iterable[str], nodes: int, rounds: int = 5) -> Iterator[Row]:
    """Yields what models made by size cost, in pairs of bare traces."""
    for kind in kinds:
        model = workloads.BY_SIZE[kind](nodes)
        yield _in_traces(f"extractor of {kind}, {nodes:,} nodes", model, workloads.last_value(model), rounds)


def real_rows(models: Iterable[str] = workloads.REAL_MODELS, rounds: int = 5) -> Iterator[Row]:
    """Yields what real models cost against both peers, and the geometric mean."""
    ratios: list[float] = []
    for name in models:
        row = real_against_torchvision(name, rounds)
        ratios.append(row.value)
        yield row
        yield real_against_traces(name, rounds)
    yield Row(f"extractors of {len(ratios)} real models, geometric mean", geometric_mean(ratios), FASTER)


def real_against_torchvision(name: str, rounds: int = 5) -> Row:
    """Returns how many times faster than torchvision an extractor of a real model is made."""
    times = _extraction(workloads.real(name), workloads.feature_of(name), rounds)
    detail = _detail(times, "fxpasses", "torchvision")
    return Row(f"extractor of {name}", times.ratio("torchvision", "fxpasses"), FASTER, detail)


def real_against_traces(name: str, rounds: int = 5) -> Row:
    """Returns what an extractor of a real model costs, in pairs of bare traces."""
    return _in_traces(f"extractor of {name}", workloads.real(name), workloads.feature_of(name), rounds)


def _extraction(model: nn.Module, name: str, rounds: int, warm_up: bool = True) -> Times:
    functions = {
        "fxpasses": functools.partial(create_feature_extractor, model, [name], suppress_diff_warning=True),
        "torchvision": functools.partial(torchvision_extractor, model, [name]),
    }
    return alternating(functions, rounds, warm_up=warm_up)


def _in_traces(what: str, model: nn.Module, name: str, rounds: int) -> Row:
    functions = {
        "fxpasses": functools.partial(create_feature_extractor, model, [name], suppress_diff_warning=True),
        "two bare traces": two_bare_traces(model),
    }
    times = alternating(functions, rounds)
    readers = capture_both(model, CaptureOptions()).mode_readers
    mode = f"; the mode matters in {len(readers)} modules" if readers else "; no mode matters"
    detail = _detail(times, *functions) + mode
    return Row(what, times.ratio("fxpasses", "two bare traces"), TRACES, detail)


def _detail(times: Times, *names: str) -> str:
    return ", ".join(f"{name} {milliseconds(times.median(name))}" for name in names)
