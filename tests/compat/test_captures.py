"""A dozen models of timm and transformers that plain tracing refuses; `benchmarks/coverage.py` takes all of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxpasses import create_feature_extractor
from fxpasses.errors import GuardError

TRANSFORMERS = {
    "bert": "encoder.layer.1", "gpt2": "h.1", "llama": "layers.0", "t5_encoder": "encoder.block.1", "vit": "layernorm",
    "distilbert": "transformer.layer.1", "mamba": "layers.0",
}  # fmt: skip
TIMM = {
    "test_efficientnet": "blocks.1",
    "test_convnext": "stages.1",
    "test_vit": "blocks.0",
    "test_mambaout": "stages.0",
}


def tiny_transformers() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "tiny_transformers.py"
    spec = importlib.util.spec_from_file_location("tiny_transformers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_feature_equal(model: nn.Module, extractor: nn.Module, name: str, args: Any, kwargs: Any) -> None:
    kept: dict[str, Any] = {}
    handle = model.get_submodule(name).register_forward_hook(lambda _, __, output: kept.update(value=output))
    with torch.no_grad():
        model(*args, **kwargs)
        found = extractor(*args, **kwargs)[name]
    handle.remove()
    ours, theirs = (
        [leaf for leaf in pytree.tree_leaves(each) if isinstance(leaf, torch.Tensor)] for each in (found, kept["value"])
    )
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings(
    "ignore:Not carried over:fxpasses.errors.FidelityWarning"
)  # rotary embeddings run under no_grad
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers")
    tiny = tiny_transformers()
    model = tiny.build(name).eval()
    args, kwargs = tiny.inputs(name, 2)
    feature = TRANSFORMERS[name]
    extractor = create_feature_extractor(
        model, [feature], example_inputs=args, example_kwargs=kwargs, suppress_diff_warning=True
    )
    assert_feature_equal(model, extractor, feature, args, kwargs)
    # Mamba loops over its sequence, so it decides on the length.
    args, kwargs = tiny.inputs(name, 3, 10 if name == "mamba" else 13)
    assert_feature_equal(model, extractor, feature, args, kwargs)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name):
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False).eval()
    feature = TIMM[name]
    extractor = create_feature_extractor(
        model, [feature], example_inputs=torch.zeros(2, 3, 160, 160), suppress_diff_warning=True
    )
    for batch in (2, 3):
        assert_feature_equal(model, extractor, feature, (torch.randn(batch, 3, 160, 160),), {})


@pytest.mark.parametrize("size", [32, 40, 48, 64, 72])
def test_a_model_with_decisions_on_sizes_runs_right_or_says_so(size):
    timm = pytest.importorskip("timm")
    model = timm.create_model("mobilevit_xxs", pretrained=False).eval()
    extractor = create_feature_extractor(
        model, ["stages.2"], example_inputs=torch.zeros(2, 3, 64, 64), suppress_diff_warning=True
    )
    x = torch.randn(1, 3, size, size)
    if size % 16 == 0:  # the windows of 2 at stride 8 then need no resizing
        assert_feature_equal(model, extractor, "stages.2", (x,), {})
    else:
        with pytest.raises(GuardError, match=r"mobilevit\.py"):
            extractor(x)
