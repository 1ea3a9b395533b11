"""What a run of a graph that is observed does to the world around it."""

from __future__ import annotations

import pytest
import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from fxpasses.errors import RequestError
from fxpasses.graph.observe import example_inputs, observe


def test_what_an_operation_raises_is_raised_as_it_is() -> None:
    graph = fx.Graph()
    graph.output(graph.call_method("__getitem__", (graph.placeholder("values"), "missing")))
    with pytest.raises(KeyError, match=r"^'missing'$"):
        observe(fx.GraphModule({}, graph), [{"present": torch.ones(1)}])


def test_an_argument_that_is_not_given_has_its_default() -> None:
    graph_module = fx.symbolic_trace(lambda x, scale=2.0: x * scale)
    assert observe(graph_module, [torch.ones(1)]).output.item() == 2.0
    assert observe(graph_module, [torch.ones(1)], {"scale": 3.0}).output.item() == 3.0


def test_inputs_are_made_as_far_as_values_are_recorded_and_defaults_serve_for_the_rest() -> None:
    graph_module = fx.symbolic_trace(lambda x, y=1.0, z=2.0: x * y + z)
    x, y, *_ = graph_module.graph.nodes
    x.meta["val"], y.meta["val"] = torch.empty(2, 3), torch.empty(3, dtype=torch.int64)
    assert [(value.dtype, tuple(value.shape)) for value in example_inputs(graph_module)] == [
        (torch.float32, (2, 3)), (torch.int64, (3,)),
    ]  # fmt: skip


def test_no_input_is_made_of_a_size_that_is_no_number() -> None:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    mode = FakeTensorMode(shape_env=ShapeEnv())
    sizes = StatelessSymbolicContext([DimDynamic.DYNAMIC])
    next(iter(graph_module.graph.nodes)).meta["val"] = mode.from_tensor(torch.ones(5), symbolic_context=sizes)
    with pytest.raises(RequestError, match="'x' has no recorded shape"):
        example_inputs(graph_module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64])
def test_inputs_with_fractions_are_drawn_from_a_normal_distribution(dtype: torch.dtype) -> None:
    values = _input(torch.empty(100, dtype=dtype))
    assert values.dtype is dtype
    assert len(set(values.tolist())) > 50
    assert 0 < (values.real < 0).sum() < 100


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_inputs_of_whole_numbers_are_zeros_and_ones_which_serve_as_masks_and_indices(dtype: torch.dtype) -> None:
    values = _input(torch.empty(100, dtype=dtype))
    assert values.dtype is dtype
    assert set(values.tolist()) == {0, 1}


def _input(recorded: torch.Tensor) -> torch.Tensor:
    graph_module = fx.symbolic_trace(lambda x: x + 1)
    next(iter(graph_module.graph.nodes)).meta["val"] = recorded
    (made,) = example_inputs(graph_module)
    return made
