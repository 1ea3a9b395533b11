from __future__ import annotations

import collections
import math
import operator
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from fxpasses.manager.blaming.literals import Expressions


class Tanh(nn.Module):
    """Prints like torch's own, and is another one."""


class Pair(NamedTuple):
    first: int
    second: str


def evaluated(text: str, expressions: Expressions) -> Any:
    names: dict[str, object] = {"nn": nn}
    for name in expressions.imports:
        exec(f"import {name}", names)
    return eval(text, names)


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        -0.5,
        math.inf,
        "a 'b'",
        torch.float16,
        torch.channels_last,
        torch.Size([2, 3]),
        torch.device("cpu"),
        slice(None, 3),
        (),
        (1,),
        [1, (2.5, None)],
        {"a": [torch.int8], 3: {}},
        len,
        operator.add,
        math.floor,
        torch.relu,
        nn.functional.gelu,
        torch.ops.aten.add.Tensor,
        int,
        collections.OrderedDict,
        nn.Linear,
        range(3),
        Pair(1, "b"),
        frozenset({1, 2}),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_an_expression_makes_the_value_again_with_what_it_imports(value: object) -> None:
    expressions = Expressions()
    found = evaluated(expressions.of(value), expressions)
    assert type(found) is type(value)
    assert found == value


@pytest.mark.parametrize("module", [nn.ReLU(inplace=True), nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3))], ids=repr)
def test_an_expression_makes_a_module_of_the_same_kind_and_shapes(module: nn.Module) -> None:
    expressions = Expressions()
    found = evaluated(expressions.of_module(module), expressions)
    assert repr(found) == repr(module)
    assert [value.shape for value in found.parameters()] == [value.shape for value in module.parameters()]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.ReLU(inplace=True), "nn.ReLU(inplace=True)"),
        (nn.Linear(2, 3), "nn.Linear(in_features=2, out_features=3, bias=True)"),
    ],
)
def test_a_module_is_spelled_as_it_prints_where_that_makes_it_again(module: nn.Module, text: str) -> None:
    assert Expressions().of_module(module) == text


@pytest.mark.parametrize("module", [Tanh(), nn.Linear(2, 3, dtype=torch.float64), nn.Sequential(nn.Tanh())], ids=repr)
def test_a_module_that_prints_like_another_one_is_kept_as_it_is(module: nn.Module) -> None:
    expressions = Expressions()
    found = evaluated(expressions.of_module(module), expressions)
    assert list(map(type, found.modules())) == list(map(type, module.modules()))
    assert [value.dtype for value in found.parameters()] == [value.dtype for value in module.parameters()]
