"""Each rule against torch itself: what it says is what torch computes, and it says nothing where torch raises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional

from fxpasses.capture.values.shape_rules import value_by_rule

sizes = st.lists(st.integers(0, 5), min_size=1, max_size=4)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64])


def compare(target: Any, module: nn.Module | None, *args: torch.Tensor) -> bool:
    """Holds the rule's answer against torch's; returns whether there is an answer."""
    graph = fx.Graph()
    node = graph.call_module("module") if module is not None else graph.call_function(target)
    bare = tuple(each.to("meta") for each in args)
    found = value_by_rule(node, module, bare, {})
    if found is None:
        return False
    expected = target(*args)
    assert (found.shape, found.dtype, found.device.type) == (expected.shape, expected.dtype, "meta")
    return True


@given(sizes, dtypes, st.integers(1, 5))
def test_a_linear_layer(size, dtype, width):
    layer = nn.Linear(width, 3)
    answered = compare(layer, layer, torch.ones(size, dtype=dtype))
    assert answered is (dtype == torch.float32 and size[-1] == width)
    assert compare(functional.linear, None, torch.ones(size, dtype=dtype), layer.weight, layer.bias) is answered


@given(sizes, sizes, sizes)
def test_attention(query, key, value):
    compare(functional.scaled_dot_product_attention, None, *(torch.ones(size) for size in (query, key, value)))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 4), st.integers(1, 4))
def test_attention_of_fitting_sizes(batch, length, others, width):
    key = torch.ones(batch, others, width)
    assert compare(
        functional.scaled_dot_product_attention,
        None,
        torch.ones(batch, length, width),
        key,
        torch.ones(batch, others, 2),
    )


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(6), nn.GELU(), nn.Hardsigmoid(), nn.Hardswish(), nn.LeakyReLU(),
        nn.Mish(), nn.ReLU(), nn.ReLU6(inplace=True), nn.Sigmoid(), nn.SiLU(inplace=True), nn.Dropout(), nn.Dropout().eval(),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_layers_that_keep_the_shape(module, dtype):
    assert compare(module, module, torch.ones(2, 4, 5, 6, dtype=dtype)) is (dtype == torch.float32)


@pytest.mark.parametrize("in_place", [nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Dropout(inplace=True)])
def test_what_works_in_place_returns_what_it_was_given(in_place):
    graph = fx.Graph()
    x = torch.empty(2, device="meta")
    assert value_by_rule(graph.call_module("module"), in_place, (x,), {}) is x


@pytest.mark.parametrize("module", [nn.Conv2d(1, 1, 1), nn.Softmax(1), nn.Sequential(nn.ReLU()), nn.Flatten()])
def test_other_layers_have_no_rule(module):
    assert not compare(module, module, torch.ones(1, 1, 1, 1))


def test_under_autocast_there_is_no_rule():
    with torch.autocast("cpu"):
        assert not compare(nn.ReLU(), nn.ReLU(), torch.ones(2))
