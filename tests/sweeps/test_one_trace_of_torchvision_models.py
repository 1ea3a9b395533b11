"""For every model of torchvision, one trace serves both modes or the modules that read their mode are known."""

from __future__ import annotations

import pytest
from support.zoo import TRACEABLE, build, models
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.feature_extraction.both_modes import CaptureOptions, capture_both
from fxpasses.passes.name_nodes import NameNodes

_QUICK = ("alexnet", "inception_v3", "mnasnet0_5", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t")

_READERS = ("convnext", "efficientnet", "googlenet", "inception", "maxvit", "mvit", "quantized", "swin")
"""Families some of whose modules read their mode: for stochastic depth, auxiliary outputs and dropout functions."""


def _spelled(graph_module: fx.GraphModule) -> tuple[list[str], str]:
    nodes = [f"{node.name} {node.op} {node.target} {node.args} {node.kwargs}" for node in graph_module.graph.nodes]
    names = [str(node.meta.get("custom")) for node in graph_module.graph.nodes]
    return [*nodes, *names], graph_module.code


def _two_traces(model: nn.Module) -> list[tuple[list[str], str]]:
    return [_spelled(NameNodes()(capture_symbolic(model, training=mode)).graph_module) for mode in (True, False)]


@pytest.mark.parametrize("name", models(TRACEABLE, _QUICK))
def test_one_trace_serves_both_modes(name: str) -> None:
    model = build(name, "meta")
    both = capture_both(model, CaptureOptions())
    assert [_spelled(both.train), _spelled(both.eval)] == _two_traces(model)
    assert (both.train is both.eval) is not bool(both.mode_readers)
    if not name.startswith(_READERS):
        assert both.mode_readers == ()
