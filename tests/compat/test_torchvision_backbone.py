"""What torchvision's own tests of its extractor ask, asked of this one."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from support.zoo import CLASSIFICATION, build, inputs, models
from torch import fx, nn
from torchvision.models import resnet18
from torchvision.models._utils import IntermediateLayerGetter

from fxpasses.errors import ModeDifferenceWarning
from fxpasses.feature_extraction import create_feature_extractor, get_graph_node_names

pytestmark = pytest.mark.filterwarnings("ignore::fxpasses.errors.ModeDifferenceWarning")

_QUICK = ("alexnet", "googlenet", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_32")
_NO_TENSORS = ("getitem", "floordiv", "size", "chunk", "_assert", "eq", "dim", "getattr", "unbind")


def _some_names(model: nn.Module) -> tuple[list[str], list[str]]:
    """Chooses ten names for each mode, of nodes that make one tensor."""
    chooser = random.Random(0)
    chosen: list[list[str]] = []
    for names in get_graph_node_names(model, tracer_kwargs={"leaf_modules": []}, suppress_diff_warning=True):
        tensors = [name for name in names if not any(part in name.split(".")[-1] for part in _NO_TENSORS)]
        chosen.append(chooser.sample(tensors, 10))
    return chosen[0], chosen[1]


@pytest.mark.parametrize("name", models(CLASSIFICATION, _QUICK))
def test_building(name: str) -> None:
    model = build(name, "meta")
    train_names, eval_names = _some_names(model)
    as_dict = {each: each for each in train_names}
    create_feature_extractor(model, train_return_nodes=train_names, eval_return_nodes=eval_names)
    create_feature_extractor(model, train_return_nodes=as_dict, eval_return_nodes=eval_names)
    for request in (
        {},
        {"return_nodes": train_names, "train_return_nodes": train_names},
        {"train_return_nodes": train_names},
        {"return_nodes": ["l"]},
    ):
        with pytest.raises(ValueError, match=r"return_nodes|not present"):
            create_feature_extractor(model, **request)


@pytest.mark.parametrize("name", models(CLASSIFICATION, _QUICK))
def test_forward_and_backward(name: str) -> None:
    model = build(name).train()
    train_names, eval_names = _some_names(model)
    extractor = create_feature_extractor(
        model, train_return_nodes=train_names, eval_return_nodes=eval_names, tracer_kwargs={"leaf_modules": []}
    )
    features = extractor(inputs(name))
    assert list(features) == train_names
    sum(value.mean() for value in _tensors(features)).backward()
    with torch.no_grad():
        assert list(extractor.eval()(inputs(name))) == eval_names


@pytest.mark.parametrize("name", models(CLASSIFICATION, [each for each in _QUICK if each != "vit_b_32"]))
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_torchscript(name: str) -> None:
    model = build(name).train()
    train_names, eval_names = _some_names(model)
    extractor = create_feature_extractor(model, train_return_nodes=train_names, eval_return_nodes=eval_names)
    features = torch.jit.script(extractor)(inputs(name))
    assert list(features) == train_names
    sum(value.mean() for value in _tensors(features)).backward()


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, Sequence):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) and value.is_floating_point() else []


def test_names_count_up_within_their_parent() -> None:
    class Submodule(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 1 + 1).relu().relu()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.submodule = Submodule()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.submodule(x) + 1 + 1).relu().relu()

    expected = [
        "x", "submodule.add", "submodule.add_1", "submodule.relu", "submodule.relu_1", "add", "add_1", "relu", "relu_1",
    ]  # fmt: skip
    assert get_graph_node_names(Model()) == (expected, expected)


def test_it_is_equivalent_to_the_intermediate_layer_getter() -> None:
    model = resnet18().eval()
    layers = {"layer1": "a", "layer2": "b", "layer3": "c", "layer4": "d"}
    getter, extractor = IntermediateLayerGetter(model, layers), create_feature_extractor(model, layers)
    for (name, ours), (its_name, its) in zip(extractor.named_parameters(), getter.named_parameters(), strict=True):
        assert name == its_name
        assert ours is its
    x = torch.rand(1, 3, 64, 64)
    ours, its = extractor(x), getter(x)
    assert list(ours) == list(its)
    assert all(torch.equal(ours[key], its[key]) for key in its)


class _Controlled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(p=1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean()
        x = self.dropout(x)
        return x * 100 if self.training else x + 1


@pytest.mark.parametrize("starts_in_training", [True, False])
def test_the_modes(starts_in_training: bool) -> None:
    def check(module: nn.Module, training: bool) -> None:
        result = module.train(training)(torch.ones(2, 3) * 2)
        value = result if isinstance(result, torch.Tensor) else next(iter(result.values()))
        assert value == (0 if training else 3)
        assert module.training is training

    model = _Controlled().train(starts_in_training)
    with pytest.warns(ModeDifferenceWarning):
        extractor = create_feature_extractor(model, train_return_nodes=["mul"], eval_return_nodes=["add"])
    assert model.training is starts_in_training
    assert extractor.training is starts_in_training
    for training in (starts_in_training, not starts_in_training, starts_in_training):
        check(extractor, training)
    check(model, not starts_in_training)
    assert extractor.training is starts_in_training


@pytest.mark.parametrize("training", [True, False])
def test_a_deep_copy_has_both_modes(training: bool) -> None:
    model = _Controlled().train(training)
    extractor = create_feature_extractor(
        model, train_return_nodes=["mul"], eval_return_nodes=["add"], suppress_diff_warning=True
    )
    copied = copy.deepcopy(extractor)
    assert copied.training is training
    for mode in (training, not training, training):
        assert list(copied.train(mode)(torch.ones(2))) == (["mul"] if mode else ["add"])


def leaf_function(x: torch.Tensor) -> int:
    return int(x.shape[0])


class _LeafModule(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


class _WithLeaves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3)
        self.leaf_module = _LeafModule()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        leaf_function(x)
        return self.leaf_module(self.conv(x))


def test_leaf_modules_andleaf_functions() -> None:
    extractor = create_feature_extractor(
        _WithLeaves(),
        return_nodes=["leaf_module"],
        tracer_kwargs={"leaf_modules": [_LeafModule], "autowrap_functions": [leaf_function]},
    ).train()
    assert isinstance(extractor, fx.GraphModule)
    names = [node.name for node in extractor.graph.nodes]
    assert "leaf_module" in names
    assert "relu" not in names
    extractor.eval()(torch.rand(1, 3, 8, 8))
