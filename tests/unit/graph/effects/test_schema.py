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
