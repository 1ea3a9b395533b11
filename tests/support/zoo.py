"""The models of torchvision, as sweeps see them: how to build each, small inputs, and which are quick."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import torch
import torchvision.models
from torch import nn

UNTRACEABLE = (
    "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2", "raft_large", "raft_small", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16", "ssdlite320_mobilenet_v3_large",
)  # fmt: skip
"""Models that loop over a list of images, or whose control flow depends on values."""

ALL = tuple(torchvision.models.list_models())
TRACEABLE = tuple(name for name in ALL if name not in UNTRACEABLE)
CLASSIFICATION = tuple(torchvision.models.list_models(module=torchvision.models))

QUICK = (
    "alexnet", "densenet121", "googlenet", "lraspp_mobilenet_v3_large", "mnasnet0_5", "mobilenet_v3_small",
    "quantized_shufflenet_v2_x0_5", "r3d_18", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
    "swin_t", "vgg11_bn", "vit_b_32",
)  # fmt: skip
"""One small model a family: what the default run looks at."""

_INITIALISERS = ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_", "xavier_uniform_")


def models(names: Iterable[str], quick: Iterable[str] = QUICK) -> list[Any]:
    """Returns parameters for a test: each model's name, those outside of `quick` only in a sweep."""
    fast = set(quick)
    return [pytest.param(name, marks=() if name in fast else pytest.mark.sweep) for name in names]


def build(name: str, device: str = "cpu", **options: Any) -> nn.Module:
    """Builds a model with random weights; on the device `meta` it has none, and costs nothing."""
    given = {**_options(name), **options}
    if name.startswith("regnet") and device == "meta":
        device = "cpu"  # its initialisation computes with values
    with torch.device(device), ExitStack() as patches:
        for initialiser in _INITIALISERS:
            patches.enter_context(mock.patch.object(nn.init, initialiser, _small_values))
        return torchvision.models.get_model(name, weights=None, **given)


def inputs(name: str) -> torch.Tensor:
    """Returns a batch of two of the smallest images (or clips) that the model takes in both modes."""
    if name.startswith("mvit"):
        return torch.rand(1, 3, 16, 224, 224)
    if name == "s3d":
        return torch.rand(1, 3, 16, 224, 224)
    if name.startswith(("r3d", "mc3", "r2plus1d")):
        return torch.rand(2, 3, 4, 32, 32)
    if name.startswith("swin3d"):
        return torch.rand(1, 3, 4, 64, 64)
    size = next((size for start, size in _IMAGE_SIZES.items() if start in name), 64)
    return torch.rand(2, 3, size, size)


_IMAGE_SIZES = {"inception": 299, "maxvit": 224, "vit_h": 28, "vit_b_16": 32, "vit_l_16": 32, "swin": 64, "vgg": 32}


def parameters(name: str) -> int:
    """Returns how many parameters the model has."""
    return sum(parameter.numel() for parameter in build(name, "meta").parameters())


def _options(name: str) -> dict[str, Any]:
    if name.startswith(("deeplab", "fcn", "lraspp")):
        return {"weights_backbone": None}
    if name.removeprefix("quantized_") in ("googlenet", "inception_v3"):
        return {"init_weights": False}
    if name.startswith("vit"):
        return {"image_size": inputs(name).shape[-1]}
    return {}


def _small_values(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """Stands for all of torch's initialisers: what a test compares does not depend on the distribution."""
    with torch.no_grad():
        return tensor.uniform_(-0.1, 0.1)
