"""What is said of calls of operators, and of functions that go beyond one."""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.fx import node as fx_node
from torch.nn import functional, init
from unit.graph.effects.seen_calls import see

from fxpasses.graph.effects.behaviour import Behaviour
from fxpasses.graph.effects.copies import clone_each, clone_value
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


@pytest.mark.parametrize("check", [torch._check, torch._check_is_size, torch._assert], ids=lambda check: check.__name__)
def test_a_check_of_torch_only_checks(check: Callable[..., Any]) -> None:
    assert behaviour_of_function(check, (True,), {}) == Behaviour(kind="none", checks=True)


def _logs() -> None: ...


@pytest.mark.parametrize("target", [_logs, functools.partial(_logs)], ids=["with a name", "without one"])
def test_what_was_declared_to_have_a_side_effect_is_taken_to_have_one(
    monkeypatch: pytest.MonkeyPatch, target: Callable[..., Any]
) -> None:
    assert behaviour_of_function(target, (), {}) is None
    monkeypatch.setattr(fx_node, "_side_effectful_functions", {target})
    assert behaviour_of_function(target, (), {}) == Behaviour(ambient=True)


def test_of_an_in_place_operator_that_was_declared_to_have_a_side_effect_the_write_is_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fx_node, "_side_effectful_functions", {_ATEN.relu_.default})
    said = behaviour_of_function(_ATEN.relu_.default, ("x",), {})
    assert said == Behaviour(writes=frozenset([0]), returns=frozenset([0]), kind="tensor")


class _Pair(tuple[Any, ...]):
    """A tuple whose constructor may do anything."""


@pytest.mark.parametrize("cls", [_Pair, ast.Name], ids=["tuple without fields", "fields without a tuple"])
def test_of_a_class_that_only_resembles_a_record_nothing_is_said(cls: type) -> None:
    assert behaviour_of_function(cls, ("x",), {}) is None


_IN_PLACE: list[Callable[..., Any]] = [torch.relu_, functional.elu_, init.zeros_, init.xavier_uniform_, init.uniform]


@pytest.mark.parametrize("function", _IN_PLACE, ids=lambda function: function.__name__)
def test_a_function_that_works_in_place_writes_and_returns_its_first_argument(function: Callable[..., Any]) -> None:
    seen = see(function, torch.full((2, 2), -0.5))
    said = behaviour_of_function(function, seen.args, {})
    assert said is not None
    assert said.writes == said.returns == seen.writes == seen.returns == {0}
    assert said.random >= seen.random


def test_a_first_argument_that_is_written_may_be_passed_by_keyword() -> None:
    seen = see(torch.relu_, input=torch.full((2,), -0.5))
    said = behaviour_of_function(torch.relu_, (), seen.kwargs)
    assert said is not None
    assert said.writes == said.returns == seen.writes == {"input"}


def test_an_operator_that_returns_nothing_may_write() -> None:
    said = behaviour_of_function(_ATEN._foreach_add_.Scalar, (["x"], 1), {})
    assert said == Behaviour(writes=frozenset([0]), kind="none")


def test_what_looks_at_shapes_only_reads_no_element() -> None:
    for target, args in ((getattr, ("x", "shape")), (len, ("x",)), (torch.numel, ("x",)), (torch.sym_max, ("x", 1))):
        said = behaviour_of_function(target, args, {})
        assert said is not None
        assert not said.reads
    said = behaviour_of_function(int, ("x",), {})
    assert said is not None
    assert said.reads


_NEW: list[Callable[..., Any]] = [
    torch.linalg.det, torch.special.expit, torch.fft.fft, torch._C._nn.mish, torch.functional.unique
]  # fmt: skip


@pytest.mark.parametrize("function", _NEW, ids=lambda function: function.__name__)
def test_a_function_of_any_part_of_torch_is_known_to_return_something_new(function: Callable[..., Any]) -> None:
    seen = see(function, torch.eye(2))
    said = behaviour_of_function(function, seen.args, {})
    assert said is not None
    assert said.writes == said.returns == seen.writes == seen.returns == set()


@pytest.mark.parametrize("cls", [torch.Tensor, torch.nn.Parameter], ids=lambda cls: cls.__name__)
def test_of_a_class_of_torch_nothing_is_said_as_it_may_share_memory(cls: type) -> None:
    assert see(cls, torch.ones(2)).returns == {0}
    assert behaviour_of_function(cls, ("x",), {}) is None


def test_a_copy_is_new_and_of_the_kind_that_was_copied() -> None:
    assert behaviour_of_function(clone_each, ("x",), {}) == Behaviour(kind="tensors")
    assert behaviour_of_function(clone_value, ("x",), {}) == Behaviour(kind="first")


def test_an_attribute_may_be_a_part_of_its_owner_or_the_default() -> None:
    for args, returned in ((("x", "part"), {0}), (("x", "part", "default"), {0, 2})):
        said = behaviour_of_function(getattr, args, {})
        assert said is not None
        assert said.returns == returned


def test_a_sum_is_new_unless_it_may_be_the_value_that_it_starts_with() -> None:
    start, new = see(sum, [], start=torch.ones(2)), see(sum, [torch.ones(2)])
    assert (start.returns, new.returns) == ({"start"}, set())
    said = behaviour_of_function(sum, new.args, {})
    assert said == Behaviour(kind="numeric")
    said = behaviour_of_function(sum, start.args, start.kwargs)
    assert said is not None
    assert "start" in said.returns


@pytest.mark.parametrize(("name", "args"), [("prod", (["x"],)), ("sumprod", (["x"], ["y"]))])
def test_a_product_of_tensors_is_a_new_tensor(name: str, args: tuple[list[str], ...]) -> None:
    assert isinstance(math.prod([torch.ones(2), torch.ones(2)]), torch.Tensor)
    if hasattr(math, name):  # sumprod is of Python 3.12
        assert behaviour_of_function(getattr(math, name), args, {}) == Behaviour(kind="numeric")
