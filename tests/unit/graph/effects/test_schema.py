"""What the schemas of operators say, and what they leave out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fxpasses.graph.effects.behaviour import UNKNOWN
from fxpasses.graph.effects.functions import behaviour_of_function
from fxpasses.graph.effects.schema import written_arguments

_ATEN = torch.ops.aten
_REST: dict[str, Any] = {"momentum": 0.1, "eps": 1e-5}


@pytest.mark.parametrize(
    ("operator", "flag"),
    [(torch.batch_norm, "training"), (torch.instance_norm, "use_input_stats")],
    ids=["batch_norm", "instance_norm"],
)
def test_statistics_are_written_as_a_flag_says_that_may_be_passed_by_keyword(operator: Any, flag: str) -> None:
    for value, updates in ((True, True), (UNKNOWN, True), (False, False)):
        said = behaviour_of_function(operator, ("x", None, None, "mean", "var"), {**_REST, flag: value})
        assert said is not None
        assert said.writes == ({3, 4} if updates else set())


def test_statistics_may_be_passed_by_keyword() -> None:
    kwargs = {"running_mean": "mean", "running_var": "var", "training": True}
    said = behaviour_of_function(torch.batch_norm, ("x", None, None), {**_REST, **kwargs})
    assert said is not None
    assert said.writes == {"running_mean", "running_var"}
    assert list(written_arguments(_ATEN.native_batch_norm.default, ("x", None, None), kwargs)) == ["mean", "var"]


def test_the_arguments_that_a_call_writes_are_told_in_order() -> None:
    norm = _ATEN.native_batch_norm.default
    assert list(written_arguments(norm, ("x", "w", "b", "mean", "var", True, 0.1, 1e-5), {})) == ["mean", "var"]
    assert list(written_arguments(norm, ("x", "w", "b", "mean", "var", False, 0.1, 1e-5), {})) == []
    assert list(written_arguments(_ATEN.abs.out, ("x",), {"out": "y"})) == ["y"]
    assert list(written_arguments(_ATEN.abs_.default, ("x",), {})) == ["x"]


def test_an_operator_with_a_sixth_argument_writes_nothing_for_it() -> None:
    args = ("x", "w", "b", [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    assert list(written_arguments(_ATEN.convolution.default, args, {})) == []


@pytest.mark.parametrize("name", ["native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"])
def test_each_kind_of_batch_norm_writes_its_statistics(name: str) -> None:
    args = ("x", "w", "b", "mean", "var", True, 0.1, 1e-5)
    said = behaviour_of_function(getattr(torch, name), args, {})
    assert said is not None
    assert said.writes == {3, 4}
    assert list(written_arguments(getattr(_ATEN, name).default, args, {})) == ["mean", "var"]


def test_of_two_arguments_that_are_written_only_the_one_that_the_schema_names_is_returned() -> None:
    said = behaviour_of_function(torch._amp_update_scale_, ("scale", "tracker", "found", 2.0, 0.5, 1), {})
    assert said is not None
    assert (said.writes, said.returns) == ({0, 1}, {0})


def test_an_argument_whose_memory_may_come_to_be_in_a_container_may_still_be_returned() -> None:
    library = torch.library.Library("fxpasses_tests", "DEF")
    library.define("puts_away(Tensor(a -> *) x, Tensor y) -> Tensor(a)")
    said = behaviour_of_function(torch.ops.fxpasses_tests.puts_away.default, ("x", "y"), {})
    assert said is not None
    assert said.returns == {0}
    library._destroy()


def test_an_operator_that_takes_nothing_makes_something_new() -> None:
    library = torch.library.Library("fxpasses_tests", "DEF")
    library.define("makes() -> Tensor")
    said = behaviour_of_function(torch.ops.fxpasses_tests.makes, (), {})
    assert said is not None
    assert (said.writes, said.returns, said.kind) == (set(), set(), "tensor")
    library._destroy()
