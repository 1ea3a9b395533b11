"""What is said of calls of functions of `torch.nn.functional` whose arguments are passed by keyword."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from unit.graph.effects.seen_calls import assert_allowed, see

from fxpasses.graph.effects.behaviour import UNKNOWN, Behaviour
from fxpasses.graph.effects.functions import behaviour_of_function


@pytest.mark.parametrize(
    "kwargs", [{"input": "x", "inplace": True}, {"inplace": True, "input": "x"}], ids=["first", "last"]
)
def test_an_input_that_is_written_is_found_wherever_it_is_among_the_keywords(kwargs: dict[str, Any]) -> None:
    behaviour = behaviour_of_function(functional.relu, (), kwargs)
    assert behaviour == Behaviour(writes=frozenset(["input"]), returns=frozenset(["input"]), kind="tensor")


def test_an_input_that_may_be_returned_is_found_wherever_it_is_among_the_keywords() -> None:
    behaviour = behaviour_of_function(functional.dropout, (), {"training": False, "input": "x"})
    assert behaviour == Behaviour(returns=frozenset(["input"]), kind="tensor")


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_attention_draws_random_numbers_for_a_rate_that_is_passed_by_keyword(rate: float) -> None:
    for function in (functional.scaled_dot_product_attention, functional.multi_head_attention_forward):
        behaviour = behaviour_of_function(function, ("q", "k", "v"), {"dropout_p": rate})
        assert behaviour is not None
        assert behaviour.random == (rate > 0)


_NORMALISATIONS: list[tuple[Callable[..., Any], tuple[str, ...], dict[str, Any]]] = [
    (functional.batch_norm, ("mean", "var"), {}),
    (functional.batch_norm, ("mean", "var"), {"training": True}),
    (functional.batch_norm, ("mean", "var", "none", "none", "yes"), {}),
    (functional.batch_norm, (), {"running_mean": "mean", "running_var": "var", "training": True}),
    (functional.instance_norm, ("mean", "var"), {}),
    (functional.instance_norm, ("mean", "var"), {"use_input_stats": False}),
    (functional.instance_norm, ("mean", "var", "none", "none", "no"), {}),
    (functional.instance_norm, (), {"running_mean": "mean", "running_var": "var"}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), _NORMALISATIONS)
def test_a_normalisation_writes_its_statistics_where_it_takes_them_from_its_input(
    function: Callable[..., Any], args: tuple[str, ...], kwargs: dict[str, Any]
) -> None:
    values = {"mean": torch.zeros(3), "var": torch.ones(3), "none": None, "yes": True, "no": False}
    inputs = torch.arange(24.0).reshape(2, 3, 4)
    given = {name: values.get(value, value) for name, value in kwargs.items()}
    seen = see(function, inputs, *(values[name] for name in args), **given)
    said = behaviour_of_function(function, seen.args, seen.kwargs)
    assert_allowed(seen, said, function)
    assert said is not None
    assert said.writes == seen.writes
    assert not said.random


@pytest.mark.parametrize("function", [functional.embedding, functional.embedding_bag])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("weight",), {}),
        (("weight", "none", "limit"), {}),
        (("weight", "none", "none"), {}),
        (("weight",), {"max_norm": "limit"}),
        ((), {"weight": "weight", "max_norm": "limit"}),
    ],
)
def test_an_embedding_writes_its_weight_where_it_limits_how_long_its_rows_are(
    function: Callable[..., Any], args: tuple[str, ...], kwargs: dict[str, str]
) -> None:
    values = {"weight": torch.ones(4, 2), "none": None, "limit": 0.5}
    given = {name: values[value] for name, value in kwargs.items()}
    seen = see(function, torch.tensor([[1]]), *(values[name] for name in args), **given)
    said = behaviour_of_function(function, seen.args, seen.kwargs)
    assert said is not None
    assert said.writes == seen.writes


@pytest.mark.parametrize("function", [functional.embedding, functional.embedding_bag])
def test_a_limit_that_cannot_be_seen_may_be_one(function: Callable[..., Any]) -> None:
    said = behaviour_of_function(function, ("input", "weight"), {"max_norm": UNKNOWN})
    assert said is not None
    assert said.writes == {1}


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "kind"),
    [
        (functional.softmax, ("x", 0), {}, "tensor"),
        (functional.softmin, ("x", 0), {}, "tensor"),
        (functional.linear, ("x", "weight"), {}, "tensor"),
        (functional.multi_head_attention_forward, ("q", "k", "v"), {"dropout_p": 0.0}, "any"),
        (functional.max_pool2d, ("x", 2), {}, "tensor"),
        (functional.max_pool2d, ("x", 2, 2, 0, 1, False), {}, "tensor"),
        (functional.max_pool2d, ("x", 2), {"return_indices": True}, "any"),
        (functional.max_pool2d, ("x", 2), {"return_indices": UNKNOWN}, "any"),
        (functional.max_pool2d, ("x", 2, 2, 0, 1, False, True), {}, "any"),
        (functional.adaptive_max_pool1d, ("x", 2, True), {}, "any"),
        (functional.fractional_max_pool2d, ("x", 2, 3, None, True), {}, "any"),
        (functional.max_pool2d_with_indices, ("x", 2), {}, "any"),
        (functional.upsample, ("x", 2), {}, "any"),  # it does not say what it returns
    ],
)
def test_the_result_is_a_tensor_where_it_can_be_nothing_else(
    function: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object], kind: str
) -> None:
    said = behaviour_of_function(function, args, kwargs)
    assert said is not None
    assert said.kind == kind
