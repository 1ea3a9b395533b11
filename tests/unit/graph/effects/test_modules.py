"""What is said of calls of modules of `torch.nn`."""

from __future__ import annotations

import pytest
from torch import nn

from fxpasses.graph.effects.behaviour import Behaviour, ResultKind
from fxpasses.graph.effects.modules import behaviour_of_module

_INPUT = frozenset(["input"])


def test_the_input_of_a_module_may_be_passed_by_keyword() -> None:
    kwargs = {"input": "x"}
    in_place = Behaviour(writes=_INPUT, returns=_INPUT, kind="tensor")
    assert behaviour_of_module(nn.ReLU(inplace=True), None, (), kwargs) == in_place
    assert behaviour_of_module(nn.Dropout(), False, (), kwargs) == Behaviour(returns=_INPUT, kind="tensor")


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.ReLU(), nn.Dropout(), nn.LazyLinear(2)], ids=repr)
def test_of_a_layer_with_a_forward_of_its_own_nothing_is_said(module: nn.Module) -> None:
    module.forward = lambda x: x.add_(1)
    assert behaviour_of_module(module, None, ("x",), {}) is None


@pytest.mark.parametrize(("module", "kind"), [(nn.Identity(), "first"), (nn.Flatten(), "tensor")])
def test_an_identity_returns_what_it_is_given_and_a_view_returns_a_tensor(module: nn.Module, kind: ResultKind) -> None:
    assert behaviour_of_module(module, None, ("x",), {}) == Behaviour(returns=frozenset([0]), kind=kind)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.RNN(4, 4, 2, dropout=0.5), "any"),
        (nn.MultiheadAttention(4, 2, dropout=0.5), "any"),
        (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5), "tensor"),
        (nn.FractionalMaxPool2d(2, 2), "tensor"),
        (nn.FractionalMaxPool2d(2, 2, return_indices=True), "any"),
        (nn.FractionalMaxPool3d(2, 2, return_indices=True), "any"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_module_that_draws_random_numbers_returns_a_tensor_or_several(module: nn.Module, kind: ResultKind) -> None:
    assert behaviour_of_module(module, True, ("x",), {}) == Behaviour(kind=kind, random=True)


def test_a_layer_draws_random_numbers_for_any_one_of_its_dropouts() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    assert behaviour_of_module(layer, True, ("x",), {}) == Behaviour(kind="tensor")
    layer.dropout1.p = 0.5
    assert behaviour_of_module(layer, True, ("x",), {}) == Behaviour(kind="tensor", random=True)
