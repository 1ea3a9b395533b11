from __future__ import annotations

import pytest
import torch
from support import examples
from torch import nn

from fxpasses.capture import capture_symbolic
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.protect_outputs import ProtectOutputs


class _Chunks(nn.Module):
    """One part of a tuple is overwritten through a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (x * 2).chunk(2)
        first.view(-1).relu_()
        return first + second


class _InputFirst(nn.Module):
    """The argument itself is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.act(x) * scale


_CASES = {
    "in_place": examples.InPlace,
    "chunks": _Chunks,
    "input": _InputFirst,
    "nothing_in_place": examples.Stacked,
}


@pytest.mark.parametrize("case", _CASES)
def test_protecting_all_values(case: str, golden) -> None:
    graph_module = NameNodes()(capture_symbolic(_CASES[case]())).graph_module
    graph = graph_module.graph
    graph.output_node().args = ({node.name: node for node in graph.nodes if node.op != "output"},)
    golden(graph, f"{case}.before")
    golden(ProtectOutputs()(graph_module).graph_module.graph, f"{case}.after")
