"""Models that decide on sizes, called with other sizes than they were captured with: right, or the guard's message.

The oracle is the eager model. Where the model itself fails on a size, its extractor has to refuse it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.oracle import assert_bit_equal
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import GuardError

QUICK = {"mobilevit_xxs": 64, "twins_svt_small": 64, "edgenext_xx_small": 64}
MODELS = {
    "coat_tiny": 224, "davit_tiny": 64, "efficientformerv2_s0": 224, "focalnet_tiny_srf": 64, "levit_128s": 224,
    "maxvit_t": 224, "mobilevitv2_050": 64, "mvitv2_tiny": 224, "nest_tiny": 224, "pvt_v2_b0": 64, "swin_t": 224,
    "swin_tiny_patch4_window7_224": 224, "twins_pcpvt_small": 64, "xcit_nano_12_p8_224": 64,
}  # fmt: skip
TORCHVISION = ("maxvit_t", "swin_t")


def build(name: str) -> nn.Module:
    if name in TORCHVISION:
        import torchvision

        return torchvision.models.get_model(name, weights=None)
    return pytest.importorskip("timm").create_model(name, pretrained=False)


def outcome(call: Any, x: torch.Tensor) -> Any:
    """Returns the result of a call, or what it raised."""
    try:
        with torch.no_grad():
            return call(x)
    except Exception as error:
        return error


def check(name: str, size: int) -> dict[tuple[int, int], str]:
    """Calls the extractor of a model with other sizes; returns what came of each."""
    model = build(name).eval()
    example = torch.randn(2, 3, size, size)
    last = get_graph_node_names(model, mode="eval", example_inputs=example)[-1]
    extractor = create_feature_extractor(model, [last], example_inputs=example, suppress_diff_warning=True).eval()
    found: dict[tuple[int, int], str] = {}
    for height, width in (
        (size, size),
        (size + 32, size + 32),
        (size - 8, size),
        (size, size + 7),
        (size // 2 + 5,) * 2,
    ):
        x = torch.randn(1, 3, height, width)
        ours, theirs = outcome(extractor, x), outcome(model, x)
        if isinstance(ours, GuardError):
            assert f"of shape {tuple(x.shape)}" in str(ours)
            found[height, width] = "refused"
        else:
            assert not isinstance(ours, Exception), (height, width, ours)
            assert not isinstance(theirs, Exception), (height, width, "the model fails, and the extractor runs", theirs)
            assert_bit_equal(ours[last], theirs, (height, width))
            found[height, width] = "equal"
    return found


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.sweep) for name in MODELS)])
def test_a_size_runs_right_or_is_refused(name: str) -> None:
    size = {**QUICK, **MODELS}[name]
    found = check(name, size)
    assert found[size, size] == "equal"
    assert set(found.values()) <= {"equal", "refused"}
