"""What a call does that is met while source is read."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B, _C = (_GRAPH.placeholder(name) for name in "abc")


class _Counts:
    """Counts its calls in a tensor of its own."""

    def __init__(self) -> None:
        self.count = torch.zeros(1)

    def __call__(self) -> Tensor:
        return self.count.add_(1)


class _NothingToDo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, a: Any) -> Any:
        return self.layer(a)


class _Base(nn.Module):
    def forward(self, a: Tensor) -> Tensor:
        return a.add_(1)


class _Between(_Base):
    def forward(self, a: Tensor) -> Tensor:
        return a.clone()


class _PassesOver(_Between):
    def forward(self, a: Tensor) -> Tensor:
        return super(_Between, self).forward(a)


_counts = _Counts()
_kept: list[Tensor] = []


def _read(callee: Any, *args: object, kind: Kind = "tensor", **kwargs: Any) -> Behaviour:
    return behaviour_from_source(callee, False, args, kwargs, lambda _node: kind)


def test_what_cannot_be_followed_may_draw_random_numbers() -> None:
    def calls_what_is_not_known(a: Tensor) -> Tensor:
        sys.getsizeof(a)
        return a.clone()

    assert _read(calls_what_is_not_known, _A).random


def test_an_object_that_is_called_may_write_into_what_it_holds_and_return_it() -> None:
    def counts(a: Tensor) -> Tensor:
        return _counts()

    behaviour = _read(counts, _A)
    assert behaviour.writes == behaviour.returns == {STATE}


def test_what_was_stored_may_be_found_by_whatever_is_called_after_it() -> None:
    def stores_and_calls(a: Tensor) -> None:
        _kept.append(a)
        sys.getsizeof(3)

    assert 0 in _read(stores_and_calls, _A).writes


def test_a_method_that_nobody_knows_may_write_what_it_is_passed_and_no_more() -> None:
    def calls_it(a: Any, b: Any, c: Any) -> Any:
        return a.labels(b)

    assert _read(calls_it, _A, _B, _C).writes - {STATE} == {0, 1}


def test_a_function_of_torch_that_is_given_nothing_may_come_out_either_way() -> None:
    def writes_where_it_is_compiled(a: Tensor, b: Tensor) -> Tensor:
        return a.add_(1) if torch.compiler.is_compiling() else b.clone()

    assert _read(writes_where_it_is_compiled, _A, _B).writes == {0}


def test_a_function_of_torch_that_is_read_does_not_write_what_was_stored() -> None:
    def stores_and_asks(a: Tensor) -> bool:
        _kept.append(a)
        return torch.compiler.is_compiling()

    assert 0 not in _read(stores_and_asks, _A).writes


@pytest.mark.parametrize("kind", ["tensor", "numeric", "tensors", "none", "any"])
def test_what_comes_out_of_a_module_that_does_nothing_is_what_went_in(kind: Kind) -> None:
    assert _read(_NothingToDo(), _A, kind=kind).kind == kind


def test_a_method_of_a_text_draws_no_random_numbers() -> None:
    def describes(a: Tensor) -> str:
        return ", ".join(str(size) for size in a.shape)

    assert _read(describes, _A) == Behaviour(kind="none")


class _WritesIntoItsCache(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> None:
        getattr(self, "cache", b).add_(1)


class _CallsItsActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ReLU()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return getattr(self, "activation", None)(a)


class _CallsItsActivationOrAnother(_CallsItsActivation):
    def forward(self, a: Tensor, b: Any) -> Tensor:
        return getattr(self, "activation", b)(a)


def _writes_into_an_attribute(a: Any, b: Any) -> None:
    getattr(a, "cache", b).add_(1)


def _writes_into_what_is_handed_on(a: Any, *rest: Any) -> None:
    getattr(torch, *rest).add_(1)


def _writes_into_what_torch_lacks(a: Any, b: Any) -> None:
    getattr(torch, "no_such_name", b).add_(1)


@pytest.mark.parametrize(
    ("callee", "writes"),
    [
        (_WritesIntoItsCache(), {STATE, 1}),
        (_writes_into_an_attribute, {0, 1}),
        (_writes_into_what_torch_lacks, {1}),
        (_writes_into_what_is_handed_on, {1}),
        (_CallsItsActivation(), set()),
        (_CallsItsActivationOrAnother(), set()),
    ],
    ids=[
        "of the module",
        "of an argument",
        "of what is known",
        "that is handed on",
        "that is there",
        "that is there for sure",
    ],
)
def test_what_stands_in_for_a_missing_attribute_may_be_written(callee: Any, writes: set[Any]) -> None:
    assert _read(callee, _A, _B).writes == writes


class _Scales:
    def scale(self, a: Tensor) -> Tensor:
        return a.clone()


_scale = _Scales().scale


def test_a_method_that_was_looked_up_before_is_read() -> None:
    def scales(a: Tensor) -> Tensor:
        return _scale(a)

    assert not _read(scales, _A).writes


def test_a_function_that_is_compiled_does_what_it_does_itself() -> None:
    def runs_compiled(a: Tensor) -> Tensor:
        return torch.compile(functional.relu_)(a)

    assert _read(runs_compiled, _A) == _read(functional.relu_, _A)


def test_a_compiler_that_compiles_nothing_does_nothing() -> None:
    def makes_a_compiler(a: Tensor) -> Tensor:
        torch.compile(dynamic=True)
        return a.clone()

    assert _read(makes_a_compiler, _A) == Behaviour(kind="tensor")


def test_a_class_that_is_passed_over_by_name_is_passed_over() -> None:
    assert 0 in _read(_PassesOver(), _A).writes


class TestOptionsThatAreHandedOn:
    """What a call passes as `*args` or `**kwargs` may be told to write, where it is not known what they are."""

    def test_in_place(self) -> None:
        def relu(a: Tensor, **options: Any) -> Tensor:
            return functional.relu(a, **options)

        def positional(a: Tensor, *options: Any) -> Tensor:
            return functional.relu(a, *options)

        assert 0 in _read(relu, _A, inplace=True).writes
        assert 0 in _read(positional, _A, True).writes

    def test_out(self) -> None:
        def adds(a: Tensor, **options: Any) -> Tensor:
            return torch.add(a, 1, **options)

        assert "out" in _read(adds, _A, out=_B).writes

    def test_what_holds_running_statistics(self) -> None:
        def normalises(*args: Any) -> Tensor:
            return functional.batch_norm(*args)

        assert {1, 2} <= _read(normalises, _A, _B, _C, None, None, True).writes

    @pytest.mark.parametrize("function", [zip, dict, max, OrderedDict, isinstance])
    def test_a_function_of_python_writes_nothing(self, function: Callable[..., Any]) -> None:
        def hands_on(a: Tensor, *rest: Any, **named: Any) -> Any:
            return function(*rest, **named)

        assert not _read(hands_on, _A, _B, c=_C).writes

    @pytest.mark.parametrize(
        ("layer", "writes"),
        [
            (nn.ReLU(), set()),
            (nn.ReLU(inplace=True), {0, 1}),
            (nn.Embedding(2, 2, max_norm=1.0), {STATE}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_layer_of_torch_does_what_it_does_to_all_of_them(self, layer: nn.Module, writes: set[Any]) -> None:
        def applies(*args: Any) -> Any:
            return layer(*args)

        assert _read(applies, _A, _B).writes == writes
