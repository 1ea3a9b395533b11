"""`get_graph_node_names` against torchvision's."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from torch import nn

from benchmarks import workloads
from benchmarks.peers import torchvision_names
from benchmarks.table import Row, milliseconds
from benchmarks.timing import alternating
from fxpasses import get_graph_node_names


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields real models, and a chain."""
    yield of_chain(900 if quick else 3_000)
    for name in ("resnet50", "vit_b_16") if quick else workloads.REAL_MODELS:
        yield of_real(name)


def of_chain(nodes: int, rounds: int = 5) -> Row:
    """Returns how many times faster a chain's nodes are named."""
    return _row(f"names of a chain, {nodes:,} nodes", workloads.chain(nodes), rounds)


def of_real(name: str, rounds: int = 5) -> Row:
    """Returns how many times faster a real model's nodes are named."""
    return _row(f"names of {name}", workloads.real(name), rounds)


def _row(what: str, model: nn.Module, rounds: int) -> Row:
    functions = {
        "fxpasses": functools.partial(get_graph_node_names, model, suppress_diff_warning=True),
        "torchvision": functools.partial(torchvision_names, model),
    }
    times = alternating(functions, rounds)
    detail = ", ".join(f"{name} {milliseconds(times.median(name))}" for name in functions)
    return Row(what, times.ratio("torchvision", "fxpasses"), "times faster than torchvision", detail)
