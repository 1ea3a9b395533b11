"""Detection models take a list of images and keep a number of boxes that depends on data; captured they do the same."""

from __future__ import annotations

import pytest
import torch
import torchvision
from support.oracle import assert_bit_equal
from support.zoo import UNTRACEABLE

from fxpasses import get_graph_node_names
from fxpasses.capture.values.guards import guards_of
from fxpasses.errors import GuardError
from fxpasses.feature_extraction.captures import Examples, capture_by

DETECTION = [name for name in UNTRACEABLE if not name.startswith("raft")]


@pytest.mark.sweep
@pytest.mark.parametrize("name", DETECTION)
def test_a_captured_detector_detects_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    captured = capture_by("values", model, False, Examples(([torch.rand(3, 96, 128), torch.rand(3, 96, 128)],)))
    for _ in range(2):
        images = [torch.rand(3, 96, 128), torch.rand(3, 96, 128)]
        guards_of(captured).check((images,), {})
        with torch.no_grad():
            assert_bit_equal(captured(list(images)), model(list(images)))
    with pytest.raises(GuardError, match="images a list of 2; got a list of 3"):
        guards_of(captured).check(([torch.rand(3, 96, 128)] * 3,), {})


def test_the_layers_of_a_detector_have_names() -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(
            "fasterrcnn_mobilenet_v3_large_320_fpn", weights=None, weights_backbone=None
        )
        images = [torch.empty(3, 96, 128)]
    names = get_graph_node_names(model, mode="eval", example_inputs=(images,))
    assert {"backbone.fpn", "rpn.head.cls_logits", "roi_heads.box_predictor.cls_score"} <= set(names)
