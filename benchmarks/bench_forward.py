"""What the extractor's forward costs: against a hand-written truncated forward, forward hooks, and timm."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks import workloads
from benchmarks.peers import torchvision_extractor
from benchmarks.table import Row
from benchmarks.timing import alternating
from fxpasses import create_feature_extractor

Forward = Callable[[torch.Tensor], Any]


class TruncatedResNet(nn.Module):
    """What one writes by hand for the features at `layer2` of a resnet of torchvision."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = model.conv1, model.bn1, model.relu, model.maxpool
        self.layer1, self.layer2 = model.layer1, model.layer2

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return {"layer2": self.layer2(self.layer1(x))}


class _FoundIt(Exception):  # noqa: N818 - no error
    """Ends a forward early."""


def with_hook(model: nn.Module, path: str) -> Forward:
    """Returns a forward that a hook ends as soon as it has the feature, which is the quickest that hooks can do."""
    found: dict[str, torch.Tensor] = {}

    def keep(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        found[path] = output
        raise _FoundIt

    model.get_submodule(path).register_forward_hook(keep)

    def forward(x: torch.Tensor) -> dict[str, torch.Tensor]:
        with contextlib.suppress(_FoundIt):
            model(x)
        return {path: found.pop(path)}

    return forward


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields the forward's cost in units of each peer's."""
    yield from layer2_of_resnet18(101 if quick else 501)


def layer2_of_resnet18(rounds: int = 501) -> Iterator[Row]:
    """Yields the cost at `layer2` of resnet18, batch 1, 32 px, where overhead shows most."""
    x = torch.rand(1, 3, 32, 32)
    make = functools.partial(workloads.real, "resnet18", "cpu")
    torch.manual_seed(0)
    model = make().eval()
    hooked = make().eval()
    hooked.load_state_dict(model.state_dict())
    forwards: dict[str, Forward] = {
        "fxpasses": create_feature_extractor(model, ["layer2"]),
        "hand-written": TruncatedResNet(model).eval(),
        "hook with early exit": with_hook(hooked, "layer2"),
        "torchvision": torchvision_extractor(model, ["layer2"]).eval(),
    }
    with torch.no_grad():
        expected = forwards["hand-written"](x)["layer2"]
        assert all(torch.equal(forward(x)["layer2"], expected) for forward in forwards.values())
        forwards |= _timm()
        calls = {name: functools.partial(forward, x) for name, forward in forwards.items()}
        times = alternating(calls, rounds, calls=3, collect=False)
    for name in list(forwards)[1:]:
        detail = f"fxpasses {times.median('fxpasses') * 1e3:.3g} ms, {name} {times.median(name) * 1e3:.3g} ms"
        yield Row(f"forward at layer2 of resnet18 / {name}", times.ratio("fxpasses", name), "times", detail)


def _timm() -> dict[str, Forward]:
    """Returns timm's own way to features of a resnet18, if timm is there."""
    try:
        import timm
    except ImportError:
        return {}
    return {"timm features_only": timm.create_model("resnet18", features_only=True, out_indices=(2,)).eval()}
