"""The output alone of a multiscale vision transformer: it depends on an in-place operation whose result nothing uses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.oracle import assert_bit_equal
from support.zoo import build, inputs
from torch import nn
from torchvision.models import feature_extraction as torchvision_extraction
from torchvision.models.video.mvit import MSBlockConfig, MViT

from fxpasses import create_feature_extractor, get_graph_node_names

_BLOCKS = [
    MSBlockConfig(2, 8, 16, [], [3, 3, 3], [], [1, 2, 2]),
    MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
]


def _like_v1() -> nn.Module:
    return MViT((32, 32), 4, _BLOCKS, False, False, False, False, num_classes=5)


def _like_v2() -> nn.Module:
    return MViT((32, 32), 4, _BLOCKS, True, False, True, True, num_classes=5)


def _check(model: nn.Module, x: torch.Tensor) -> None:
    last = get_graph_node_names(model.eval(), mode="eval")[-1]
    with torch.no_grad():
        expected = model(x)
        assert_bit_equal(create_feature_extractor(model, [last])(x)[last], expected)
        theirs = torchvision_extraction.create_feature_extractor(model, [last])(x)[last]
    assert not torch.equal(theirs, expected)


@pytest.mark.parametrize("make", [_like_v1, _like_v2])
def test_the_output_of_a_small_one_is_the_models(make: Callable[[], nn.Module]) -> None:
    _check(make(), torch.rand(1, 3, 4, 32, 32))


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s"])
def test_the_output_is_the_models(name: str) -> None:
    _check(build(name), inputs(name))
