"""timm's wrapper of torchvision's extractor, over this extractor instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.models.feature_extraction as torchvision_extraction
from support.zoo import models
from torch import nn

import fxpasses.feature_extraction as ours

timm = pytest.importorskip("timm")
timm_fx = pytest.importorskip("timm.layers._fx")

pytestmark = [
    pytest.mark.filterwarnings("ignore::fxpasses.errors.ModeDifferenceWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning"),
]

_MODELS = (
    "resnet18", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "regnetx_002",
    "mixer_s32_224", "nf_resnet26",
)  # fmt: skip
_QUICK = ("convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224")


@pytest.fixture(autouse=True)
def _patched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ours.__all__:
        if hasattr(torchvision_extraction, name):
            monkeypatch.setattr(torchvision_extraction, name, getattr(ours, name))
    monkeypatch.setattr(timm_fx, "_create_feature_extractor", ours.create_feature_extractor)
    monkeypatch.setattr(timm_fx, "_get_graph_node_names", ours.get_graph_node_names)


def _build(name: str, **options: Any) -> nn.Module:
    return timm.create_model(name, pretrained=False, **options)


def _input(model: nn.Module) -> torch.Tensor:
    fixed: Any = getattr(model, "patch_embed", None) or getattr(model, "stem", None)
    size = 224 if hasattr(fixed, "img_size") else 64
    return torch.rand(2, 3, size, size)


def _last(model: nn.Module) -> tuple[Any, str]:
    """Returns the whole model as an extractor of its last node, and that node's name."""
    names = timm_fx.get_graph_node_names(model)[0]
    return timm_fx.create_feature_extractor(model, [names[-1]]), names[-1]


@pytest.mark.parametrize("name", models(_MODELS, _QUICK))
def test_forward_is_bit_equal_to_the_model(name: str) -> None:
    model = _build(name).eval()
    extractor, last = _last(model)
    x = _input(model)
    with torch.no_grad():
        assert torch.equal(extractor.eval()(x)[last], model(x))


@pytest.mark.parametrize("name", models(_MODELS, _QUICK))
def test_backward_reaches_every_parameter(name: str) -> None:
    model = _build(name, num_classes=42).train()
    extractor, last = _last(model)
    extractor.train()(_input(model))[last].mean().backward()
    without = [name for name, parameter in extractor.named_parameters() if parameter.grad is None]
    assert without == []
    assert len(list(extractor.parameters())) == len(list(model.parameters()))


@pytest.mark.parametrize("name", models(_MODELS[:5], ["vit_tiny_patch16_224"]))
def test_torchscript(name: str) -> None:
    model = _build(name, scriptable=True, exportable=True).eval()
    extractor, last = _last(model)
    x = _input(model)
    with torch.no_grad():
        assert torch.equal(torch.jit.script(extractor.eval())(x)[last], model(x))


def test_timms_module_around_the_graph() -> None:
    model = _build("resnet18").eval()
    wrapped = timm.models.GraphExtractNet(model, {"layer1": "a", "layer3": "b"}).eval()
    with torch.no_grad():
        first, second = wrapped(torch.rand(1, 3, 64, 64))
    assert first.shape[1], second.shape[1] == (64, 256)


def test_names_are_aligned_with_the_graph() -> None:
    model = _build("vit_tiny_patch16_224").eval()
    tracer = ours.NodePathTracer(leaf_modules=timm_fx.get_notrace_modules())
    graph = tracer.trace(model)
    names = timm_fx.get_graph_node_names(model)[1]
    nodes = [node for node in graph.nodes if node.op != "output"]
    assert [tracer.node_to_qualname[node] for node in nodes] == names
