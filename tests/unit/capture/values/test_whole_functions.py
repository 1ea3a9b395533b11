from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import boxes as box_ops

from fxpasses.capture.value_tracer import capture_with_values
from fxpasses.capture.values.guards import guards_of
from fxpasses.capture.values.whole_functions import stand_in
from fxpasses.errors import FidelityWarning


def module(forward: Any) -> nn.Module:
    """Makes a module of a forward function that takes the module first."""
    return type("Made", (nn.Module,), {"forward": forward, "__module__": __name__})()


def smallest(self, x):
    found = x[x > 0]
    return found[: min(2, found.shape[0])], max(found.shape[0], 3, x.shape[0])


def test_the_smaller_of_a_number_and_a_size_that_depends_on_data_is_no_decision():
    captured = capture_with_values(module(smallest), torch.ones(4))
    assert not guards_of(captured).guards
    for x in (torch.ones(5), -torch.ones(2), torch.tensor([1.0, -1.0])):
        (ours, our_size), (theirs, their_size) = captured(x), module(smallest)(x)
        assert torch.equal(ours, theirs)
        assert our_size == their_size


def test_of_sizes_that_are_known_it_is_a_decision_as_any_other():
    captured = capture_with_values(module(lambda self, x: x[: min(2, x.shape[0])]), torch.ones(4))
    assert [guard.text for guard in guards_of(captured).guards] == ["not x.shape[0] < 2"]
    assert "min" not in globals()


class Detects(nn.Module):
    """Keeps the best boxes, a number that depends on data, and asks for sizes afterwards."""

    def forward(self, boxes, scores):
        keep = box_ops.batched_nms(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), 0.5)
        kept = boxes[keep]
        return kept * 2 if kept.shape[1] == 4 and kept.dim() == 2 else kept


@pytest.mark.parametrize("count", [0, 1, 7, 2000])
def test_the_best_boxes_are_chosen_by_one_node(count):
    captured = capture_with_values(Detects(), (torch.rand(3, 4), torch.rand(3)))
    assert [node.target for node in captured.graph.nodes if "nms" in node.name] == [box_ops.batched_nms]
    corners = torch.rand(count, 2, 2).sort(dim=1).values.flatten(1)
    boxes, scores = corners[:, [0, 1, 2, 3]], torch.rand(count)
    assert torch.equal(captured(boxes, scores), Detects()(boxes, scores))


def _shapes(value: Any) -> Any:
    return [each.shape for each in value] if isinstance(value, tuple) else value.shape


@pytest.mark.parametrize("count", [1, 4])
def test_stand_ins_make_what_the_functions_make(count):
    from torchvision.models.detection import roi_heads

    boxes = torch.tensor([[0.0, 0.0, 5.0, 6.0]]).repeat(count, 1)
    masks, maps = torch.rand(count, 1, 28, 28), torch.rand(count, 3, 14, 14)
    for function, args in (
        (roi_heads.paste_masks_in_image, (masks, boxes, (20, 30))),
        (roi_heads.heatmaps_to_keypoints, (maps, boxes)),
    ):
        assert stand_in(function) is not function
        assert _shapes(stand_in(function)(*args)) == _shapes(function(*args))


def test_a_function_that_draws_by_numpy_draws_in_every_call(monkeypatch):
    home = types.ModuleType("transformers.models.made")
    source = """
import numpy
import torch
from torch import nn

def _compute_mask_indices(shape, share):
    return numpy.random.random(shape) < share

class Masked(nn.Module):
    def forward(self, x):
        return x * torch.tensor(_compute_mask_indices((x.shape[0], x.shape[1]), 0.5), dtype=x.dtype)
"""
    exec(source, vars(home))
    monkeypatch.setitem(sys.modules, home.__name__, home)
    model = home.Masked()
    captured = capture_with_values(model, torch.ones(2, 50))
    for seed in (0, 1):
        np.random.seed(seed)
        ours = captured(torch.ones(3, 50))
        np.random.seed(seed)
        assert torch.equal(ours, model(torch.ones(3, 50)))


def test_a_number_that_numpy_drew_while_tracing_is_a_warning_and_the_stream_is_put_back():
    model = module(lambda self, x: x + 1 if np.random.random() < 0.5 else x - 1)
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    with pytest.warns(FidelityWarning, match="drew random numbers while it was traced"):
        capture_with_values(model, torch.ones(2))
    assert np.random.random() == expected
