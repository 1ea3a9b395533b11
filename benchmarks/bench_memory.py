"""What extracting takes in memory: parameters copied, and the peak of Python's memory against torchvision's."""

from __future__ import annotations

import functools
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext

from torch import nn

from benchmarks import workloads
from benchmarks.peers import quick_torchvision_names, torchvision_extractor
from benchmarks.table import Row
from fxpasses import create_feature_extractor


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields bytes copied, and peaks."""
    for name in ("resnet50",) if quick else ("resnet50", "vit_b_16", "densenet201"):
        yield bytes_copied(name)
    for nodes in (900, 3_000) if quick else (900, 3_000, 9_000, 30_000):
        yield peak(nodes)


def bytes_copied(name: str) -> Row:
    """Returns how many bytes of parameters and buffers the extractor does not share with the model."""
    model = workloads.real(name, "cpu")
    extractor = create_feature_extractor(model, [workloads.feature_of(name)], suppress_diff_warning=True)
    own = {tensor.untyped_storage().data_ptr() for tensor in _tensors(model)}
    copied = [tensor for tensor in _tensors(extractor) if tensor.untyped_storage().data_ptr() not in own]
    total = sum(tensor.untyped_storage().nbytes() for tensor in _tensors(extractor))
    found = sum(tensor.untyped_storage().nbytes() for tensor in copied)
    return Row(f"parameters of {name} copied", found, "bytes", f"shared: {total / 1e6:.3g} MB")


def peak(nodes: int) -> Row:
    """Returns the peak of what is allocated while an extractor of a chain is made, in units of torchvision's.

    From 9,000 nodes on torchvision counts names quickly, which takes about 1 % more memory and a hundredth of the time.
    """
    model = workloads.chain(nodes)
    name = workloads.last_step(model)
    ours = peak_bytes(functools.partial(create_feature_extractor, model, [name]))
    with nullcontext() if nodes < 9_000 else quick_torchvision_names():
        theirs = peak_bytes(functools.partial(torchvision_extractor, model, [name]))
    detail = f"fxpasses {ours / 1e6:.3g} MB, torchvision {theirs / 1e6:.3g} MB"
    return Row(f"peak memory, chain of {nodes:,} nodes", ours / theirs, "times torchvision's", detail)


def peak_bytes(function: Callable[[], object]) -> int:
    """Returns how much more than before was allocated at the peak; what is returned counts, too."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = function()
        _, highest = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return highest - before


def _tensors(module: nn.Module) -> list[nn.Parameter]:
    return [*module.parameters(), *module.buffers()]  # pyright: ignore[reportReturnType] # both are tensors
