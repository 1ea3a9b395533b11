"""The models that benchmarks run on: made by size, or real ones.

All of them are built on the `meta` device unless asked for otherwise: extracting features reads no value, and weights
would only cost memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

WIDTH = 4
REAL_MODELS = ("resnet50", "vit_b_16", "maxvit_t", "mvit_v2_s", "swin_v2_t", "densenet201")
"""Those for which the README states a number."""


class Step(nn.Module):
    """A linear layer, a relu and an addition: three nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) + x


class StepWithMode(Step):
    """The same, with a dropout function that looks at the mode: four nodes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(x), 0.1, self.training)


class ResidualBlock(nn.Module):
    """Two layers and a sum with the input, as in a residual network: seven nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(y)) + x)


class BranchyBlock(nn.Module):
    """Four branches side by side, and their concatenation: nine nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(WIDTH, WIDTH // 4) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.relu(branch(x)) for branch in self.branches], -1)


class Dense(nn.Module):
    """Each layer takes what all layers before it made: as many uses as nodes, squared."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH * (index + 1), WIDTH) for index in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [x]
        for layer in self.layers:
            found.append(torch.relu(layer(torch.cat(found, -1))))
        return found[-1]


class Shared(nn.Module):
    """One block, called again and again: names have to be counted."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.block, self.calls = Step(), calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.calls):
            x = self.block(x)
        return x


def chain(nodes: int) -> nn.Module:
    """Makes a chain of linear, relu and addition with about this many nodes; no mode matters."""
    return _on_meta(lambda: nn.Sequential(*(Step() for _ in range(nodes // 3))))


def chain_with_mode(nodes: int) -> nn.Module:
    """Makes a chain whose every step looks at its mode."""
    return _on_meta(lambda: nn.Sequential(*(StepWithMode() for _ in range(nodes // 4))))


def residual(nodes: int) -> nn.Module:
    """Makes a chain of residual blocks with about this many nodes."""
    return _on_meta(lambda: nn.Sequential(*(ResidualBlock() for _ in range(nodes // 7))))


def branchy(nodes: int) -> nn.Module:
    """Makes a chain of branching blocks with about this many nodes."""
    return _on_meta(lambda: nn.Sequential(*(BranchyBlock() for _ in range(nodes // 9))))


def dense(layers: int) -> nn.Module:
    """Makes a densely concatenating model: three nodes a layer, and half the square of the layers in uses."""
    return _on_meta(lambda: Dense(layers))


def shared(nodes: int) -> nn.Module:
    """Makes a model that calls one module again and again."""
    return _on_meta(lambda: Shared(nodes // 3))


BY_SIZE: dict[str, Callable[[int], nn.Module]] = {
    "chain": chain,
    "chain with modes": chain_with_mode,
    "residual": residual,
    "branchy": branchy,
    "shared": shared,
}


def last_step(model: nn.Module) -> str:
    """Returns the name of a value in the middle of a chain's last step, so that nearly all of the chain is needed."""
    return f"{len(list(model.children())) - 1}.linear"


def last_value(model: nn.Module) -> str:
    """Returns the name of the last module inside a model made by size: what it returned last, or for the only time."""
    return f"{len(model) - 1}" if isinstance(model, nn.Sequential) else "block.linear"


def real(name: str, device: str = "meta") -> nn.Module:
    """Builds a model of torchvision without weights."""
    import torchvision

    with torch.device("cpu" if name.startswith("regnet") else device):  # its initialisation computes with values
        return torchvision.models.get_model(name, weights=None)


def feature_of(name: str) -> str:
    """Returns the value to extract from a real model: a late one, so that little is pruned."""
    return {
        "resnet50": "layer4.2.relu_2",
        "vit_b_16": "encoder.layers.encoder_layer_11.mlp",
        "maxvit_t": "blocks.3.layers.1.layers.MBconv.layers.conv_c",
        "mvit_v2_s": "blocks.15.mlp",
        "swin_v2_t": "features.7.1.add_1",
        "densenet201": "features.denseblock4.denselayer32.conv2",
    }[name]


def _on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()
