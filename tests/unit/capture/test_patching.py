from __future__ import annotations

import gc
from collections.abc import Generator

import pytest
import torch
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.capture.patching import without_collecting
from fxpasses.errors import CaptureError


@pytest.fixture(params=[True, False], ids=["collecting", "not collecting"])
def collects(request: pytest.FixtureRequest) -> Generator[bool]:
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_the_collector_is_off_inside_and_as_it_was_afterwards(collects: bool) -> None:
    with without_collecting(), without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled() is collects


def test_the_collector_is_as_it_was_after_an_error(collects: bool) -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not gc.isenabled()
            raise RuntimeError("on purpose")

    for use in (lambda: create_feature_extractor(Broken(), ["x"]), lambda: get_graph_node_names(Broken())):
        with pytest.raises(CaptureError, match="on purpose"):
            use()
        assert gc.isenabled() is collects
