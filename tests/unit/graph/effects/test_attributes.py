"""What an attribute is that is looked up while source is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _read(callee: Any, *args: object, kind: Kind = "tensor", training: bool | None = False) -> Behaviour:
    return behaviour_from_source(callee, training, args, {}, lambda _node: kind)


class _Settings:
    in_place = True
    copies = False

    @staticmethod
    def writes_first(a: Tensor, b: Tensor) -> Tensor:
        return a.add_(b)

    @classmethod
    def writes_second(cls, a: Tensor, b: Tensor) -> Tensor:
        return b.add_(a) if cls.in_place else a

    @staticmethod
    def apply(a: Tensor, b: Tensor) -> Tensor:
        return a.add_(b)

    def writes_itself(self: Any, b: Tensor) -> Tensor:
        return self.add_(b)


class _Function(torch.autograd.Function):
    in_place = True

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.scale = 2
        return a.add_(b)

    @classmethod
    def writes_second(cls, a: Tensor, b: Tensor) -> Tensor:
        return b.add_(a)


def apply(a: Tensor, b: Tensor) -> Tensor:
    return a.add_(b)


class _Registry:
    @classmethod
    def apply(cls, a: Tensor, b: Tensor) -> Tensor:
        return b.add_(a)


_apply_of_the_registry = _Registry.apply
_method_of_the_function = _Function.writes_second


def _a_setting_that_is_on(a: Tensor, b: Tensor) -> Tensor:
    return functional.relu(a, inplace=_Settings.in_place)


def _a_setting_that_is_off(a: Tensor, b: Tensor) -> Tensor:
    return functional.relu(a, inplace=_Settings.copies)


def _a_setting_of_an_autograd_function(a: Tensor, b: Tensor) -> Tensor:
    return a.add_(1) if _Function.in_place else b.add_(1)


def _a_static_method(a: Tensor, b: Tensor) -> Tensor:
    return _Settings.writes_first(a, b)


def _a_class_method(a: Tensor, b: Tensor) -> Tensor:
    return _Settings.writes_second(a, b)


def _a_method_of_no_object(a: Tensor, b: Tensor) -> Tensor:
    return _Settings.writes_itself(a, b)


def _the_apply_of_an_autograd_function(a: Tensor, b: Tensor) -> Tensor:
    return _Function.apply(a, b)


def _the_apply_of_another_class(a: Tensor, b: Tensor) -> Tensor:
    return _Settings.apply(a, b)


def _a_function_named_apply(a: Tensor, b: Tensor) -> Tensor:
    return apply(a, b)


def _a_class_method_named_apply(a: Tensor, b: Tensor) -> Tensor:
    return _apply_of_the_registry(a, b)


def _another_method_of_an_autograd_function(a: Tensor, b: Tensor) -> Tensor:
    return _method_of_the_function(a, b)


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_a_setting_that_is_on, {0}),
        (_a_setting_that_is_off, set()),
        (_a_setting_of_an_autograd_function, {0}),
        (_a_static_method, {0}),
        (_a_class_method, {1}),
        (_a_method_of_no_object, {0}),
        (_the_apply_of_an_autograd_function, {0}),
        (_the_apply_of_another_class, {0}),
        (_a_function_named_apply, {0}),
        (_a_class_method_named_apply, {1}),
        (_another_method_of_an_autograd_function, {1}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_belongs_to_a_class_is_found_there(function: Callable[..., Tensor], writes: set[int]) -> None:
    assert _read(function, _A, _B).writes == writes


def test_what_a_class_lacks_holds_nothing() -> None:
    def writes_into_what_stands_in(a: Tensor, b: Tensor) -> None:
        getattr(_Settings, "no_such_name", b).add_(1)

    assert _read(writes_into_what_stands_in, _A, _B).writes == {1}


@pytest.mark.parametrize(("kind", "expected"), [("tensor", "tensor"), ("any", "any"), ("tensors", "any")])
def test_the_data_of_a_tensor_is_a_tensor_and_that_of_another_object_may_be_anything(
    kind: Kind, expected: Kind
) -> None:
    def takes_data(a: Any) -> Any:
        return a.data

    assert _read(takes_data, _A, kind=kind) == Behaviour(returns=frozenset([0]), kind=expected)


class _LooksAtItsFlag(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a.add_(1) if self.training else b.add_(1)


class _ReturnsItsFlag(nn.Module):
    def forward(self, a: Tensor) -> bool:
        return self.training


@pytest.mark.parametrize(("training", "writes"), [(True, {0}), (False, {1}), (None, {0, 1})])
def test_a_module_does_what_its_training_flag_says_and_either_where_that_may_change(
    training: bool | None, writes: set[int]
) -> None:
    assert _read(_LooksAtItsFlag(), _A, _B, training=training).writes == writes


@pytest.mark.parametrize("training", [True, None])
def test_a_training_flag_is_no_tensor(training: bool | None) -> None:
    assert _read(_ReturnsItsFlag(), _A, training=training) == Behaviour(kind="none")


class _CountsItsCalls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, a: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return a.clone()


def test_a_module_that_counts_its_calls_changes_only_itself() -> None:
    behaviour = _read(_CountsItsCalls(), _A)
    assert (behaviour.writes, behaviour.returns, behaviour.kind) == ({STATE}, set(), "tensor")


class _HasAWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, a: Tensor) -> Any:
        return getattr(self, "weight", None)


def test_an_attribute_that_is_there_is_what_it_is_whatever_would_stand_in_for_it() -> None:
    assert _read(_HasAWeight(), _A) == Behaviour(returns=frozenset([STATE]), kind="tensor")


class _HandsOutItsMethod(nn.Module):
    def method(self) -> None:
        """Does nothing."""

    def forward(self, a: Tensor) -> Any:
        return self.method


class _HandsOutItsClassMethod(nn.Module):
    @classmethod
    def method(cls) -> None:
        """Does nothing."""

    def forward(self, a: Tensor) -> Any:
        return self.method


class _HandsOutWhatItInherits(_HandsOutItsMethod):
    def forward(self, a: Tensor) -> Any:
        return super().method


class _HandsOutAnAutogradFunction(nn.Module):
    def forward(self, a: Tensor) -> Any:
        return _Function.apply


@pytest.mark.parametrize(
    "module",
    [_HandsOutItsMethod(), _HandsOutItsClassMethod(), _HandsOutWhatItInherits(), _HandsOutAnAutogradFunction()],
    ids=lambda module: type(module).__name__,
)
def test_a_method_that_is_handed_out_may_hold_tensors(module: nn.Module) -> None:
    behaviour = _read(module, _A)
    assert behaviour.kind == "any"
    assert not behaviour.random
