"""What torch's own functions take besides what their schemas name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fxpasses.graph.parameters import parameters_of_function

_CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (torch.relu, (), {"input": torch.ones(2)}),
    (torch.sum, (), {"a": torch.ones(2), "axis": 0, "keepdims": True}),
    (torch.sum, (), {"x": torch.ones(2), "dim": 0}),
    (torch.add, (), {"x1": torch.ones(2), "x2": torch.ones(2)}),
    (torch.exp, (torch.ones(2),), {"out": torch.ones(2)}),
    (torch.rand, (2,), {"generator": torch.Generator(), "requires_grad": True}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), _CALLS)
def test_what_torch_takes_by_keyword_is_in_the_parameters(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert isinstance(function(*args, **kwargs), Tensor)
    taken = parameters_of_function(function)
    assert taken is None or taken.keywords is None or kwargs.keys() <= taken.keywords
