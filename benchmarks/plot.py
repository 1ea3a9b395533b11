"""Draws what an extractor costs by the size of the model, for fxpasses and torchvision."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from benchmarks import workloads
from benchmarks.peers import torchvision_extractor
from benchmarks.timing import best
from fxpasses import create_feature_extractor

Curve = tuple[list[int], list[float]]


def costs(sizes: Sequence[int], largest_of_torchvision: int) -> dict[str, Curve]:
    """Measures chains of several sizes, side by side; torchvision up to a size, as its cost grows with the square."""
    makers: dict[str, Callable[[nn.Module, list[str]], object]] = {
        "fxpasses": create_feature_extractor,
        "torchvision": torchvision_extractor,
    }
    curves: dict[str, Curve] = {name: ([], []) for name in makers}
    for size in sizes:
        model = workloads.chain(size)
        for name, make in makers.items():
            if name == "fxpasses" or size <= largest_of_torchvision:
                seconds = best(functools.partial(make, model, [workloads.last_step(model)]), 3 if size < 3_000 else 1)
                curves[name][0].append(size)
                curves[name][1].append(seconds)
    return curves


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draws the curves, both axes logarithmic; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    mpl.rcParams["svg.hashsalt"] = "fxpasses"  # the same picture for the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for (name, (sizes, seconds)), colour in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
        axes.loglog(sizes, seconds, "o-", color=colour, label=name)
        axes.annotate(
            name, (sizes[-1], seconds[-1]), textcoords="offset points", xytext=(0, 8), ha="right", color=colour
        )
    axes.set_xlabel("nodes of a chain of linear, relu and addition")
    axes.set_ylabel("seconds to make a feature extractor")
    axes.grid(True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
