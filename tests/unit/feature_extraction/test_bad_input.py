"""What an extractor does with what it cannot do: the error's class, what its message says, the model untouched."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import examples
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import (
    ArgumentTypeError,
    CaptureError,
    DuplicateOutputError,
    EmptySelectionError,
    FxpassesError,
    ReturnNodesError,
    UnknownLeafError,
    UnknownNodeError,
    UnselectableValueError,
)

Make = Callable[[], nn.Module]

_REQUESTS: dict[str, tuple[Make, dict[str, Any], type[FxpassesError], list[str]]] = {
    "unknown name": (
        examples.Stacked,
        {"return_nodes": ["blocks.0.frist"]},
        UnknownNodeError,
        ["'blocks.0.frist'", "not present", "'blocks.0.first'", "get_graph_node_names"],
    ),
    "all unknown names at once": (
        examples.Stacked,
        {"return_nodes": ["haed", "blocks", "blocks.7"]},
        UnknownNodeError,
        ["'haed'", "'head'", "'blocks.7'"],
    ),
    "a name's beginning is not the name": (
        examples.Stacked,
        {"return_nodes": ["block"]},
        UnknownNodeError,
        ["'block'", "'blocks"],
    ),
    "a trailing dot": (examples.Stacked, {"return_nodes": ["blocks."]}, UnknownNodeError, ["'blocks.'"]),
    "empty list": (examples.Stacked, {"return_nodes": []}, EmptySelectionError, ["return_nodes", "empty"]),
    "empty dict": (examples.Stacked, {"return_nodes": {}}, EmptySelectionError, ["return_nodes", "empty"]),
    "empty in one mode": (
        examples.Stacked,
        {"train_return_nodes": ["head"], "eval_return_nodes": []},
        EmptySelectionError,
        ["eval_return_nodes", "empty"],
    ),
    "only in train mode": (
        examples.TwoModes,
        {"return_nodes": ["auxiliary"]},
        UnknownNodeError,
        ["'auxiliary'", "eval mode", "only in train mode", "train_return_nodes"],
    ),
    "only in eval mode": (
        examples.TwoModes,
        {"return_nodes": ["refine"]},
        UnknownNodeError,
        ["'refine'", "train mode", "only in eval mode", "eval_return_nodes"],
    ),
    "one key for two values": (
        examples.Stacked,
        {"return_nodes": {"head": "out", "blocks.0": "out"}},
        DuplicateOutputError,
        ["'head'", "'blocks.0'", "'out'"],
    ),
    "a string": (examples.Stacked, {"return_nodes": "head"}, ArgumentTypeError, ["return_nodes='head'", "['head']"]),
    "a number": (examples.Stacked, {"return_nodes": 3}, ArgumentTypeError, ["return_nodes=3", "list"]),
    "a name that is no string": (examples.Stacked, {"return_nodes": [0]}, ArgumentTypeError, ["holds 0", "int"]),
    "a key that is no string": (
        examples.Stacked,
        {"return_nodes": {"head": 1}},
        ArgumentTypeError,
        ["holds 1", "int", "strings"],
    ),
    "nothing asked for": (examples.Stacked, {}, ReturnNodesError, ["return_nodes", "together"]),
    "only train": (
        examples.Stacked,
        {"train_return_nodes": ["head"]},
        ReturnNodesError,
        ["train_return_nodes", "eval_return_nodes", "together"],
    ),
    "only eval": (
        examples.Stacked,
        {"eval_return_nodes": ["head"]},
        ReturnNodesError,
        ["train_return_nodes", "eval_return_nodes", "together"],
    ),
    "both kinds": (
        examples.Stacked,
        {"return_nodes": ["head"], "train_return_nodes": ["head"], "eval_return_nodes": ["head"]},
        ReturnNodesError,
        ["either", "alone"],
    ),
    "a leaf that never occurs": (
        examples.Stacked,
        {"return_nodes": ["head"], "leaf_modules": [nn.Conv2d]},
        UnknownLeafError,
        ["leaf_modules", "Conv2d", "Residual"],
    ),
    "a leaf class alone": (
        examples.Stacked,
        {"return_nodes": ["head"], "leaf_modules": examples.Residual},
        ArgumentTypeError,
        ["leaf_modules", "list or tuple"],
    ),
    "a leaf that is a module": (
        examples.Stacked,
        {"return_nodes": ["head"], "leaf_modules": [nn.Linear(1, 1)]},
        ArgumentTypeError,
        ["leaf_modules", "did you mean its class, Linear"],
    ),
    "a leaf that is no class of modules": (
        examples.Stacked,
        {"return_nodes": ["head"], "tracer_kwargs": {"leaf_modules": [dict]}},
        ArgumentTypeError,
        ["leaf_modules", "dict"],
    ),
    "an unknown tracer option": (
        examples.Stacked,
        {"return_nodes": ["head"], "tracer_kwargs": {"leaves": []}},
        ArgumentTypeError,
        ["'leaves'", "leaf_modules"],
    ),
    "an unknown style of names": (
        examples.Stacked,
        {"return_nodes": ["head"], "names": "timm"},
        ArgumentTypeError,
        ["names='timm'", "'exact'", "'torchvision'"],
    ),
    "a model that cannot be traced": (
        examples.Untraceable,
        {"return_nodes": ["stem"]},
        CaptureError,
        [
            "'inner.0'",
            "Inner",
            Path(examples.__file__).name,
            "line ",
            "x.sum() > 0",
            "leaf_modules=(Inner,)",
            "autowrap",
        ],
    ),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", _REQUESTS)
def test_a_bad_request(case: str, training: bool, unchanged) -> None:
    make, request, error, phrases = _REQUESTS[case]
    model = unchanged(make().train(training))
    with pytest.raises(error) as raised:
        create_feature_extractor(model, **request)
    for phrase in phrases:
        assert phrase in str(raised.value)


@pytest.mark.parametrize("name", [case for case, row in _REQUESTS.items() if row[2] is not CaptureError])
def test_errors_are_of_the_built_in_classes_that_torchvisions_are(name: str) -> None:
    make, request, error, _ = _REQUESTS[name]
    built_in = TypeError if error is ArgumentTypeError else ValueError
    with pytest.raises(built_in):
        create_feature_extractor(make(), **request)


@pytest.mark.parametrize("model", [torch.relu, nn.Linear, "resnet18", None])
def test_a_model_that_is_no_module(model: Any) -> None:
    for call in (lambda: create_feature_extractor(model, ["x"]), lambda: get_graph_node_names(model)):
        with pytest.raises(ArgumentTypeError, match=r"expected an nn.Module"):
            call()


def test_a_class_instead_of_an_instance_is_told_apart() -> None:
    with pytest.raises(ArgumentTypeError, match=r"Did you mean Stacked\(\)\?"):
        get_graph_node_names(examples.Stacked)  # pyright: ignore[reportArgumentType]


def test_an_unknown_mode() -> None:
    with pytest.raises(ArgumentTypeError, match=r"mode='both'.*'train', 'eval' and 'current'"):
        get_graph_node_names(examples.Stacked(), mode="both")  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_name_list_of_an_untraceable_model(unchanged) -> None:
    model = unchanged(examples.Untraceable())
    with pytest.raises(CaptureError, match=r"'inner.0' \(Inner\)"):
        get_graph_node_names(model)


def test_the_way_out_that_the_error_names_works(unchanged) -> None:
    model = unchanged(examples.Untraceable())
    extractor = create_feature_extractor(model, ["inner"], leaf_modules=(examples.Untraceable.Inner,))
    x = torch.randn(2, 3)
    assert torch.equal(extractor(x)["inner"], model(x))


def test_a_tuple_a_set_and_a_generator_are_several_names(unchanged) -> None:
    model = unchanged(examples.Stacked())
    for names in (("head", "blocks"), (name for name in ["head", "blocks"]), {"head": None, "blocks": None}.keys()):
        assert list(create_feature_extractor(model, names)(torch.ones(2, 3))) == ["head", "blocks"]


def test_one_name_asked_for_twice_is_returned_once() -> None:
    assert list(create_feature_extractor(examples.Stacked(), ["head", "head"])(torch.ones(2, 3))) == ["head"]


def test_one_value_serves_many_names() -> None:
    model = examples.Stacked()
    names = ["blocks", "blocks.1", "blocks.1.relu_1"]
    features = create_feature_extractor(model, names)(torch.ones(2, 3))
    assert list(features) == names
    assert all(torch.equal(value, features["blocks"]) for value in features.values())


def test_names_with_the_characters_of_patterns(unchanged) -> None:
    model = unchanged(examples.OddNames())
    x, y = torch.randn(2, 2, 3)
    wanted = [*examples.OddNames.NAMES]
    assert set(wanted) <= set(get_graph_node_names(model, mode="eval"))
    features = create_feature_extractor(model, wanted)(x, y)
    value = x + y
    for name in wanted:
        result = getattr(model, name)(value)
        assert torch.equal(features[name], result), name
        value = torch.relu(result) + 1


@pytest.mark.parametrize("name", ["layer.", "b.c", "a.b", "(", "conv_.", ".*", "", "."])
def test_a_name_is_no_pattern(name: str) -> None:
    with pytest.raises(UnknownNodeError, match=re.escape(repr(name))):
        create_feature_extractor(examples.OddNames(), [name])


class _ReturnsShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.measure = _Measure()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(self.measure(x))


class _Measure(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[int, int]:
        return x.size(1), x.size(0)


class _ReturnsConstant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = _Width()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.width(x)


class _Width(nn.Module):
    def forward(self, _x: torch.Tensor) -> int:
        return 3


class _Plan:
    def __init__(self, scale: object) -> None:
        self.scale = scale


class _Planner(nn.Module):
    def forward(self, x: torch.Tensor) -> _Plan:
        return _Plan(x.mean())


class _UsesPlan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.planner = _Planner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.planner(x).scale


def test_a_module_that_returns_numbers_gives_numbers(unchanged) -> None:
    extractor = create_feature_extractor(unchanged(_ReturnsShape()), ["measure"])
    assert extractor(torch.ones(2, 5)) == {"measure": (5, 2)}


def test_a_module_without_a_tensor_in_its_output(unchanged) -> None:
    with pytest.raises(UnselectableValueError, match=r"'width': .* returned no value of the graph: 3"):
        create_feature_extractor(unchanged(_ReturnsConstant()), ["width"])


def test_a_module_that_returns_an_object(unchanged) -> None:
    with pytest.raises(UnselectableValueError, match=r"'planner': .* _Plan\. .*'planner.mean'"):
        create_feature_extractor(unchanged(_UsesPlan()), ["planner"])


def test_arguments_are_not_changed() -> None:
    options = {"leaf_modules": [nn.Sequential], "autowrap_modules": ()}
    nodes = {"head": "out"}
    create_feature_extractor(examples.Stacked(), nodes, tracer_kwargs=options)
    get_graph_node_names(examples.Stacked(), options)
    assert options == {"leaf_modules": [nn.Sequential], "autowrap_modules": ()}
    assert nodes == {"head": "out"}
