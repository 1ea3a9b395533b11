"""Tracing with values beside plain tracing, on models that both reach; and whether anything is computed for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import workloads
from benchmarks.table import Row, milliseconds
from benchmarks.timing import alternating, geometric_mean
from fxpasses.capture import capture_symbolic
from fxpasses.capture.value_tracer import capture_with_values

TORCHVISION = {
    "resnet50": 224,
    "vit_b_16": 224,
    "swin_t": 224,
    "efficientnet_b0": 224,
    "maxvit_t": 224,
    "densenet121": 224,
}
TIMM = {
    "hrnet_w18_small": 96,
    "ghostnet_050": 96,
    "eva02_tiny_patch14_224": 224,
    "deepseek_vit_412m": 96,
    "regnetx_002": 96,
}


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields each model's ratio, their mean, and the bytes of real tensors that were made."""
    models = {name: (_torchvision(name), size) for name, size in list(TORCHVISION.items())[: 2 if quick else None]}
    if not quick:
        models |= {name: (_timm(name), size) for name, size in TIMM.items()}
    found = [row for name, (model, size) in models.items() for row in compare(name, model, size)]
    yield from found
    ratios = [row.value for row in found if row.unit.startswith("times")]
    yield Row(
        "tracing with values, all of these", geometric_mean(ratios), "times plain tracing", f"worst {max(ratios):.3g}"
    )


def compare(name: str, model: nn.Module, size: int) -> Iterator[Row]:
    """Yields the time of tracing with values in terms of plain tracing, and the bytes that it made."""
    x = torch.empty(2, 3, size, size)
    times = alternating(
        {
            "plain": lambda: capture_symbolic(model, training=False, warn=False),
            "values": lambda: capture_with_values(model, x, training=False, warn=False),
        }
    )
    detail = " against ".join(milliseconds(times.median(each)) for each in ("values", "plain"))
    yield Row(f"tracing {name} with values", times.ratio("values", "plain"), "times plain tracing", detail)
    with _CountsBytes() as made:
        capture_with_values(model, x, training=False, warn=False)
    yield Row(f"real tensors made by tracing {name}", made.total, "bytes", ", ".join(sorted(made.by)))


class _CountsBytes(TorchDispatchMode):
    """Counts the bytes of each storage with data that an operation makes; a view of a weight makes none."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.by: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        known = {_storage(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if _has_data(leaf)}
        new = [leaf for leaf in pytree.tree_leaves(made) if _has_data(leaf) and _storage(leaf) not in known]
        self.total += sum(leaf.untyped_storage().nbytes() for leaf in new)
        self.by.update(str(func) for _ in new)
        return made


def _has_data(leaf: object) -> bool:
    return type(leaf) in (torch.Tensor, nn.Parameter) and leaf.device.type != "meta"  # type: ignore[attr-defined] # a tensor


def _storage(tensor: Any) -> int:
    return tensor.untyped_storage().data_ptr()


def _torchvision(name: str) -> nn.Module:
    return workloads.real(name)


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False)
