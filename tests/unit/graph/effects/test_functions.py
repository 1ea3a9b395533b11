"""What is said of calls of operators, and of functions that go beyond one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fxpasses.graph.effects.behaviour import Behaviour
from fxpasses.graph.effects.functions import behaviour_of_function

_ATEN = torch.ops.aten


def test_an_operator_writes_and_returns_the_tensor_that_its_result_is_put_into() -> None:
    into_out = Behaviour(writes=frozenset(["out"]), returns=frozenset(["out"]), kind="tensor")
    assert behaviour_of_function(_ATEN.add.out, ("x", "y"), {"out": "z"}) == into_out


def test_an_operator_without_such_a_tensor_writes_nothing() -> None:
    assert behaviour_of_function(_ATEN.add.Tensor, ("x", "y"), {}) == Behaviour(kind="tensor")


@pytest.mark.parametrize(
    "operator",
    [_ATEN._assert_async.msg, _ATEN._assert_scalar.default, _ATEN.sym_constrain_range.default],
    ids=str,
)
def test_an_operator_that_asserts_only_checks(operator: Any) -> None:
    assert behaviour_of_function(operator, ("x",), {}) == Behaviour(kind="none", checks=True)


def test_of_an_operator_on_texts_nothing_is_said() -> None:
    assert behaviour_of_function(_ATEN.splitlines, ("x",), {}) is None


@pytest.mark.parametrize("as_tuple", [True, False])
def test_the_places_of_what_is_not_zero_are_new_whatever_holds_them(as_tuple: bool) -> None:
    assert behaviour_of_function(torch.nonzero, ("x",), {"as_tuple": as_tuple}) == Behaviour(kind="any")
