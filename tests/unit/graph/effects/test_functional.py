"""What is said of calls of functions of `torch.nn.functional` whose arguments are passed by keyword."""

from __future__ import annotations

from typing import Any

import pytest
from torch.nn import functional

from fxpasses.graph.effects.behaviour import Behaviour
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
