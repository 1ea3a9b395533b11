"""Small models, each for one thing that an extractor can get wrong."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """A block with a repeated operation and an addition, inside a model that has the same again."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        return torch.relu(self.second(y) + x)


class Stacked(nn.Module):
    """Two residual blocks, a pool and a head."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Residual(width), Residual(width))
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x).mean(0))


class TwoModes(nn.Module):
    """Another module runs in each mode, and another operation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.auxiliary = nn.Linear(3, 2)
        self.refine = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        y = self.stem(x)
        if self.training:
            return torch.tanh(y), self.auxiliary(y)
        return torch.sigmoid(self.refine(y)), None


class Pair(NamedTuple):
    """Two values under names."""

    small: torch.Tensor
    large: torch.Tensor


class Split(nn.Module):
    """Returns several values in the container asked for."""

    def __init__(self, container: str) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.container = container

    def forward(self, x: torch.Tensor) -> object:
        small, large = self.linear(x).chunk(2, -1)
        if self.container == "dict":
            return {"small": small, "large": large.exp()}
        if self.container == "named":
            return Pair(small, large.exp())
        if self.container == "list":
            return [small, large.exp()]
        return small, (large.exp(), x)


class UsesSplit(nn.Module):
    """Calls `Split` and uses all that it returned."""

    def __init__(self, container: str) -> None:
        super().__init__()
        self.split = Split(container)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.split(x)
        if self.split.container == "dict":
            return parts["small"] + parts["large"]
        if self.split.container == "tuple":
            small, (large, same) = parts
            return (small + large).sum() + same.sum()
        return parts[0] + parts[1]


class ReturnsInput(nn.Module):
    """Returns what it was given, though it computes something beside."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        return x


class Empty(nn.Module):
    """Returns what it was given and computes nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ReturnsEarlierValue(nn.Module):
    """What it returns is not the last that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.result = nn.Linear(3, 3)
        self.auxiliary = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.result(x)
        self.auxiliary(y)
        return y


class CalledTwice(nn.Module):
    """One block, called on two values, and one leaf, called on two."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Residual()
        self.leaf = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leaf(self.block(self.leaf(self.block(x))))


class Aliased(nn.Module):
    """One module under two paths."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Residual()
        self.second = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


class InPlace(nn.Module):
    """Values that later operations overwrite, in the usual ways."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.linear(x))
        z = self.last(y)
        z += y
        functional.relu(z, inplace=True)
        z[:, :1].mul_(2)
        return z


class OddNames(nn.Module):
    """Modules and arguments with names that counters and patterns stumble over."""

    NAMES = ("conv_1", "conv_2", "add", "relu_1", "layer(", "b+c", "a_b", "0", "x", "größe", "[", "ln_1", "ln")

    def __init__(self) -> None:
        super().__init__()
        for name in self.NAMES:
            self.add_module(name, nn.Linear(3, 3))

    def forward(self, x_1: torch.Tensor, x_2: torch.Tensor) -> torch.Tensor:
        value = x_1 + x_2
        for name in self.NAMES:
            value = torch.relu(getattr(self, name)(value)) + 1
        return value


class Untraceable(nn.Module):
    """Decides by a value, deep inside."""

    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                return x
            return -x

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.inner = nn.Sequential(self.Inner())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.stem(x))
