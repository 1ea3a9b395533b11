"""Functions given to `torch.fx.wrap`, and those of modules that are recorded whole."""

from __future__ import annotations

import math

import pytest
import torch
from torch import fx, nn
from torch.fx import _symbolic_trace as torch_trace

from fxpasses.capture import capture_symbolic


def length(x: torch.Tensor) -> int:
    return len(x)


fx.wrap("length")
fx.wrap("sorted")


class Uses(nn.Module):
    """Calls a function of this file, a builtin one and one of `math`, none of which takes a proxy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * length(x) * math.sqrt(x.shape[0]) * sorted([x.shape[0], 2])[0]


@pytest.mark.parametrize(
    "trace", [capture_symbolic, lambda model: (capture_symbolic(model), fx.symbolic_trace(model))[1]]
)
def test_wrapped_functions_are_recorded_and_put_back(trace) -> None:
    before = [length, math.sqrt, sorted, dict(vars(torch_trace))]
    for _ in range(2):
        targets = {node.target for node in trace(Uses()).graph.nodes if node.op == "call_function"}
        assert {length, math.sqrt, sorted} <= targets
        assert before == [length, math.sqrt, sorted, dict(vars(torch_trace))]
    assert "sorted" not in globals()
