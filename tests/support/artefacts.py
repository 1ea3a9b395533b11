"""What the rows of the artefact matrix share: a model with the usual difficulties, its extractor, and how to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from fxpasses import DualGraphModule, create_feature_extractor
from fxpasses.graph.meta import qualified_name
from support.oracle import assert_bit_equal, cloned


class Block(nn.Module):
    """A residual block that writes in place three times."""

    def __init__(self, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = norm(width)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.last(self.act(self.norm(self.conv(x))))
        y += x
        return functional.relu(y, inplace=True)


class Net(nn.Module):
    """In-place writes, a block called twice, random numbers, buffers, constants, and a branch for each mode."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm(4), nn.ReLU(inplace=True))
        self.block = Block(4, norm)
        self.register_buffer("shift", torch.full((4,), 0.25))
        self.register_buffer("scale", torch.full((4,), 0.5), persistent=False)
        self.drop = nn.Dropout(dropout)
        self.auxiliary = nn.Linear(4, 2)
        self.refine = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.block(self.block(self.stem(x)))
        y = self.drop(x.mean((2, 3))) * self.scale + self.shift
        if self.training:
            return self.head(y + torch.full((4,), 2.0)), self.auxiliary(y)
        return self.head(self.refine(y) + torch.full((4,), 3.0)), y.sigmoid()


NAMES = ["stem.1", "stem", "block.norm", "block.last", "block", "block@1", "drop", "add", "head"]
TRAIN_NAMES = [*NAMES, "auxiliary"]
EVAL_NAMES = [*NAMES, "refine"]


class Subject(NamedTuple):
    """A model, an extractor of it, and an input."""

    model: nn.Module
    extractor: DualGraphModule
    x: torch.Tensor


def subject(training: bool = True, **options: Any) -> Subject:
    """Makes the model, in the given mode, and the extractor of most of its values."""
    model = Net(**options).train(training)
    return Subject(model, extractor_of(model), torch.randn(2, 3, 6, 6))


def extractor_of(model: nn.Module) -> DualGraphModule:
    """Makes an extractor of other values in each mode."""
    return create_feature_extractor(
        model, train_return_nodes=TRAIN_NAMES, eval_return_nodes=EVAL_NAMES, suppress_diff_warning=True
    )


def features(module: Callable[..., Any], *args: torch.Tensor, seed: int = 0) -> Any:
    """Runs a module with a seed, and puts its buffers back."""
    buffers = dict(module.named_buffers()) if isinstance(module, nn.Module) else {}
    before = {name: buffer.detach().clone() for name, buffer in buffers.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = cloned(module(*args))
    with torch.no_grad():
        for name, value in before.items():
            buffers[name].copy_(value)
    return found


def both_modes(module: nn.Module, *args: torch.Tensor) -> dict[bool, Any]:
    """Returns what a module computes in each mode, and leaves it in its own."""
    training = module.training
    found = {mode: features(module.train(mode), *args) for mode in (training, not training)}
    module.train(training)
    return {mode: found[mode] for mode in (True, False)}


def assert_same_extractor(actual: nn.Module, expected: DualGraphModule, x: torch.Tensor) -> None:
    """Fails unless both have the same mode, names and graphs, and the same values in both modes, twice."""
    assert isinstance(actual, DualGraphModule)
    assert actual.training is expected.training
    assert {name: module.training for name, module in actual.named_modules()} == {
        name: module.training for name, module in expected.named_modules()
    }
    assert actual.selection == expected.selection
    for mode in ("train_graph", "eval_graph"):
        assert names(getattr(actual, mode)) == names(getattr(expected, mode))
    assert list(actual.state_dict()) == list(expected.state_dict())
    wanted = both_modes(expected, x)
    for _ in range(2):
        assert_bit_equal(both_modes(actual, x), wanted)


def names(graph: torch.fx.Graph) -> list[tuple[str, str | None]]:
    """Returns the own and the qualified name of each node."""
    return [(node.name, qualified_name(node)) for node in graph.nodes]
