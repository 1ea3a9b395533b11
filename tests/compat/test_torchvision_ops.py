"""The operators of torchvision are leaves: one node for the module, whatever it does inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import ops

from fxpasses import get_graph_node_names


class _WrapsTwo(nn.Module):
    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.operator(a, b)


class _WrapsThree(_WrapsTwo):
    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:  # pyright: ignore
        return self.operator(a, b, c)


class _WrapsOne(_WrapsTwo):
    def forward(self, a: torch.Tensor) -> torch.Tensor:  # pyright: ignore
        return self.operator(a)


@pytest.mark.parametrize(
    ("wrapped", "inputs"),
    [
        (_WrapsTwo(ops.RoIPool((3, 3), 1.0)), 2),
        (_WrapsTwo(ops.PSRoIPool((3, 3), 1.0)), 2),
        (_WrapsTwo(ops.RoIAlign((3, 3), 1.0, -1)), 2),
        (_WrapsTwo(ops.PSRoIAlign((3, 3), 1.0, -1)), 2),
        (_WrapsThree(ops.MultiScaleRoIAlign(["0"], 3, -1)), 3),
        (_WrapsThree(ops.DeformConv2d(3, 3, 3)), 3),
        (_WrapsOne(ops.StochasticDepth(0.5, "row")), 1),
        (_WrapsOne(ops.DropBlock2d(0.5, 3)), 1),
        (_WrapsOne(ops.FrozenBatchNorm2d(3)), 1),
        (_WrapsOne(ops.SqueezeExcitation(3, 1)), 1),
        (_WrapsOne(ops.Permute([0, 1])), 1),
    ],
    ids=lambda value: type(value.operator).__name__ if isinstance(value, nn.Module) else "",
)
def test_an_operator_is_one_node(wrapped: nn.Module, inputs: int) -> None:
    train_names, eval_names = get_graph_node_names(wrapped)
    assert len(train_names) == len(eval_names) == 1 + inputs
