"""What the nodes of a module call tell about the call."""

from __future__ import annotations

import torch
from torch import fx, nn

from fxpasses.graph.calls import NodeRef
from fxpasses.graph.regions import escaping, module_calls, regions


class Scaled(nn.Module):
    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_a_parameter_that_a_later_module_shares_does_not_leave_the_first() -> None:
    weight = nn.Parameter(torch.ones(2))
    graph_module = fx.symbolic_trace(nn.Sequential(Scaled(weight), Scaled(weight)))
    region = regions(graph_module.graph)["0"]
    assert [node.op for node in region] == ["get_attr", "call_function"]
    assert escaping(region) == region[1:]
    assert [call.output for call in module_calls(graph_module)] == [NodeRef("mul"), NodeRef("mul_1")]
