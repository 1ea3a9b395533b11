from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from support.mutations import node
from torch import fx, nn

from fxpasses.errors import FalseClaimError
from fxpasses.manager import PassManager, PassResult


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.cos(x)
        return torch.relu(x) * self.weight + torch.tanh(x)


def adds(graph_module: fx.GraphModule) -> None:
    with graph_module.graph.inserting_after(node(graph_module, "relu")):
        graph_module.graph.call_method("neg", (node(graph_module, "relu"),))


def removes(graph_module: fx.GraphModule) -> None:
    graph_module.graph.erase_node(node(graph_module, "cos"))


def edits(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").target = torch.sigmoid


def moves(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").prepend(node(graph_module, "tanh"))


def writes(graph_module: fx.GraphModule) -> None:
    with torch.no_grad():
        graph_module.weight.mul_(2)


def adds_a_module(graph_module: fx.GraphModule) -> None:
    graph_module.add_module("inner", fx.symbolic_trace(nn.ReLU()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([adds], "added neg"),
        ([removes], "removed cos"),
        ([edits], "edited relu.target"),
        ([moves], "moved tanh"),
        ([writes], "changed modules or tensors"),
        ([adds_a_module], "changed modules or tensors; graph of 'inner'"),
        ([adds, removes, edits, writes], "added neg; removed cos; edited relu.target; changed modules or tensors"),
    ],
)
def test_whoever_denies_a_change_is_told_what_it_is(change: list[Callable[[fx.GraphModule], None]], told: str) -> None:
    def denies(graph_module: fx.GraphModule) -> PassResult:
        for each in change:
            each(graph_module)
        return PassResult(graph_module, False)

    said = f"denies (pass 1) returned modified=False, but it changed the graph module: {told}. Return PassResult"
    with pytest.raises(FalseClaimError, match=f"^{re.escape(said)}"):
        PassManager([denies])(fx.symbolic_trace(Model()))
