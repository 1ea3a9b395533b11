"""Each rule against torch itself: what it says is what torch computes, and it says nothing where torch raises."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from fxpasses.capture.values.shape_rules import value_by_rule

sizes = st.lists(st.integers(0, 5), min_size=1, max_size=4)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64])


def compare(target: Any, module: nn.Module | None, *args: Any) -> bool:
    """Holds the rule's answer against torch's; returns whether there is an answer."""
    graph = fx.Graph()
    node = graph.call_module("module") if module is not None else graph.call_function(target)
    bare = pytree.tree_map_only(torch.Tensor, lambda each: each.to("meta"), args)
    found = value_by_rule(node, module, bare, {})
    if found is None:
        return False
    expected = target(*args)
    assert (found.shape, found.dtype, found.device.type) == (expected.shape, expected.dtype, "meta")
    assert strides(found) == strides(expected)
    return True


def strides(tensor: torch.Tensor) -> list[int]:
    """Returns the strides that matter."""
    if not tensor.numel():
        return []
    return [stride for stride, extent in zip(tensor.stride(), tensor.shape, strict=True) if extent > 1]


@given(sizes, dtypes, st.integers(1, 5))
def test_a_linear_layer(size, dtype, width):
    layer = nn.Linear(width, 3)
    answered = compare(layer, layer, torch.ones(size, dtype=dtype))
    assert answered is (dtype == torch.float32 and size[-1] == width)
    assert compare(functional.linear, None, torch.ones(size, dtype=dtype), layer.weight, layer.bias) is answered


NORMALIZING = {
    "batch norm 1": (nn.BatchNorm1d(4), [(2, 4), (2, 4, 3), (1, 4), (2, 3), (4,), (2, 4, 3, 3)]),
    "batch norm 2": (nn.BatchNorm2d(4), [(2, 4, 3, 3), (1, 4, 1, 1), (2, 3, 3, 3), (2, 4, 3), (0, 4, 3, 3)]),
    "batch norm 2 in eval mode": (nn.BatchNorm2d(4).eval(), [(1, 4, 1, 1), (2, 5, 3, 3), (2, 4, 3), (0, 4, 3, 3)]),
    "batch norm 3": (nn.BatchNorm3d(2), [(2, 2, 3, 3, 1), (2, 4, 3, 3, 1), (2, 2, 3, 3)]),
    "group norm": (nn.GroupNorm(2, 4), [(2, 4, 3), (2, 4), (1, 4), (2, 6, 3), (4,), (2, 5, 3)]),
    "layer norm": (nn.LayerNorm((3, 4)), [(2, 3, 4), (3, 4), (2, 4, 3), (4,), (0, 3, 4)]),
    "rms norm": (nn.RMSNorm(4), [(2, 3, 4), (4,), (2, 4, 3), (4, 1)]),
}


@pytest.mark.parametrize("name", NORMALIZING)
def test_normalization_of_sizes_that_do_and_do_not_fit(name):
    layer, shapes = NORMALIZING[name]
    for shape in shapes:
        compare(layer, layer, torch.ones(shape))
    assert compare(layer, layer, torch.ones(shapes[0]))


FUNCTIONS = {
    "layer_norm": lambda x: ((4,), torch.ones(4)),
    "rms_norm": lambda x: ((4,), torch.ones(4)),
    "group_norm": lambda x: (2, torch.ones(4)),
    "batch_norm": lambda x: (torch.zeros(4), torch.ones(4)),
}


@given(st.sampled_from(sorted(FUNCTIONS)), sizes)
def test_normalization_by_function(name, size):
    compare(getattr(functional, name), None, torch.ones(size), *FUNCTIONS[name](None))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_normalization_by_function_has_a_rule(name):
    assert compare(getattr(functional, name), None, torch.ones(2, 4, 3, 4), *FUNCTIONS[name](None))


def in_memory(size: list[int], order: int, step: int) -> torch.Tensor:
    """Makes a tensor of a size whose dimensions lie in memory in another order, and with gaps."""
    permuted = sorted(range(len(size)), key=lambda axis: (axis * 7 + order) % 5)
    dense = torch.ones([size[axis] * step for axis in permuted])
    tensor = dense.permute([permuted.index(axis) for axis in range(len(size))])
    return tensor[tuple(slice(None, None, step) for _ in size)]


layouts = st.tuples(st.integers(0, 4), st.integers(1, 2))
LAYOUT_SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(LAYOUT_SIZES, layouts, layouts, st.integers(0, 31), st.sampled_from([operator.add, operator.mul, operator.sub]))
def test_arithmetic_in_any_layout(size, one, other, ones, function):
    broadcast = [1 if ones >> axis & 1 else extent for axis, extent in enumerate(size)]
    compare(function, None, in_memory(size, *one), in_memory(broadcast, *other))
    compare(function, None, in_memory(broadcast, *one), in_memory(size, *other))
    compare(operator.neg, None, in_memory(size, *one))


@given(LAYOUT_SIZES, layouts, layouts, st.sampled_from([torch.cat, torch.stack]), st.integers(-3, 2))
@example([1, 1, 1, 2], (1, 1), (1, 1), torch.cat, 1)
def test_concatenation_in_any_layout(size, one, other, function, dim):
    compare(function, None, [in_memory(size, *one), in_memory(size, *other)], dim)


@given(LAYOUT_SIZES, layouts)
@example([1, 2, 1, 2], (1, 1))
def test_normalization_in_any_layout(size, layout):
    compare(functional.layer_norm, None, in_memory(size, *layout), size[-1:])
    compare(functional.rms_norm, None, in_memory(size, *layout), size[-1:])
    compare(functional.gelu, None, in_memory(size, *layout))


@given(sizes, sizes, dtypes, st.sampled_from([operator.add, operator.mul, torch.sub, operator.truediv, torch.add]))
def test_arithmetic(one, other, dtype, function):
    compare(function, None, torch.ones(one), torch.ones(other, dtype=dtype))


@given(sizes, st.sampled_from([operator.add, operator.mul, operator.sub]))
def test_arithmetic_of_sizes_that_fit(size, function):
    for other in (size, size[1:], [1] * len(size)) if all(size) else ():
        assert compare(function, None, torch.ones(size), torch.ones(other))
        assert compare(function, None, torch.ones(other), nn.Parameter(torch.ones(size)))
    assert compare(function, None, torch.ones(size), 2.5)


@given(st.lists(sizes, min_size=1, max_size=3), st.integers(-5, 4))
def test_concatenation(parts, dim):
    compare(torch.cat, None, [torch.ones(part) for part in parts], dim)


def test_concatenation_of_sizes_that_fit():
    assert compare(torch.cat, None, [torch.ones(2, 3), torch.ones(2, 1)], 1)
    assert compare(torch.cat, None, (torch.ones(2, 3), torch.ones(1, 3)))


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
