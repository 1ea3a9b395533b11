"""Detection models take a list of images and keep a number of boxes that depends on data; captured they do the same."""

from __future__ import annotations

import pytest
import torch
import torchvision
from support.oracle import assert_bit_equal
from support.zoo import UNTRACEABLE
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.capture.values.guards import guards_of
from fxpasses.errors import CaptureError, GuardError, ModeError
from fxpasses.feature_extraction.captures import Examples, capture_by
from fxpasses.feature_extraction.fidelity import check_fidelity

DETECTION = [name for name in UNTRACEABLE if not name.startswith("raft")]
LAYERS = ("backbone", "backbone.body", "backbone.fpn", "backbone.features", "head", "rpn", "rpn.head", "roi_heads")


def detector(name: str) -> nn.Module:
    """Makes a detector that finds something with random weights, in images that it keeps small."""
    part = "box_" if "rcnn" in name else ""
    options = {f"{part}score_thresh": 0.0, f"{part}detections_per_img": 5}
    if not name.startswith("ssd"):
        options.update(min_size=96, max_size=128)
    return torchvision.models.get_model(name, weights=None, weights_backbone=None, **options).eval()


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore::fxpasses.errors.FidelityWarning")  # an anchor generator keeps what it made
@pytest.mark.parametrize("name", DETECTION)
def test_features_of_a_detector_are_extracted_in_one_mode(name: str) -> None:
    torch.manual_seed(0)
    model = detector(name)
    images = [torch.rand(3, 96, 128), torch.rand(3, 96, 128)]
    layers = [path for path in LAYERS if path in dict(model.named_modules())]
    extractor = create_feature_extractor(model, layers, example_inputs=(images,), mode="eval")
    report = check_fidelity(extractor, model, ([torch.rand(3, 96, 128), torch.rand(3, 96, 128)],))
    assert report, report
    with pytest.raises(ModeError, match="mode='eval'"):
        extractor.train()


def test_an_extractor_of_both_modes_needs_targets() -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None)
        images = [torch.empty(3, 96, 128)]
    with pytest.raises(CaptureError, match=r"targets should not be none(?s:.*)mode='eval' captures eval mode alone"):
        create_feature_extractor(model, ["backbone"], example_inputs=(images,), capture="values")


@pytest.mark.sweep
@pytest.mark.parametrize("name", DETECTION)
def test_a_captured_detector_detects_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = detector(name)
    captured = capture_by("values", model, False, Examples(([torch.rand(3, 96, 128), torch.rand(3, 96, 128)],)))
    for _ in range(2):
        images = [torch.rand(3, 96, 128), torch.rand(3, 96, 128)]
        guards_of(captured).check((images,), {})
        with torch.no_grad():
            found = captured(list(images))
            assert_bit_equal(found, model(list(images)))
        assert all(len(each["boxes"]) for each in found)
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
