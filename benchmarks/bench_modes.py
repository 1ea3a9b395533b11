"""Switching an extractor between train and eval mode, against torchvision's."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from benchmarks import workloads
from benchmarks.peers import torchvision_extractor
from benchmarks.table import Row
from benchmarks.timing import process_seconds
from fxpasses import create_feature_extractor

SWITCHES = 200


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields real models, one whose mode cannot matter and one where it does."""
    for name in ("resnet50",) if quick else ("resnet50", "swin_v2_t", "densenet201"):
        yield switch(name)


def switch(name: str, rounds: int = 5) -> Row:
    """Returns how many times faster than torchvision's an extractor switches, once each mode's code was needed."""
    model, value = workloads.real(name), workloads.feature_of(name)
    ours = create_feature_extractor(model, [value], suppress_diff_warning=True)
    theirs = torchvision_extractor(model, [value])
    for training in (True, False):
        ours.train(training)
        ours.compile_now()
    seconds = [
        (process_seconds(lambda: _switch(ours), SWITCHES), process_seconds(lambda: _switch(theirs)))
        for _ in range(rounds)
    ]
    seconds.sort(key=lambda pair: pair[1] / pair[0])
    mine, other = seconds[rounds // 2]
    detail = f"fxpasses {mine / 2 * 1e6:.3g} µs, torchvision {other / 2 * 1e6:.3g} µs"
    return Row(f"train/eval switch of {name}", other / mine, "times faster than torchvision", detail)


def _switch(module: nn.Module) -> None:
    module.train()
    module.eval()
