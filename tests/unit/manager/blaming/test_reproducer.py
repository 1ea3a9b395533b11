from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from fxpasses.manager import PassLike, PassManager
from fxpasses.manager.blaming.judge import Judgement, Wrong
from fxpasses.manager.blaming.reproducer import script_of


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 40.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(x) * self.weight


def sees_forties(graph_module: fx.GraphModule) -> bool:
    return float(graph_module.weight.detach().sum()) == 120.0


def drops_cos(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.cos):
        node.target = torch.sin


def drops_cos_of_forties(graph_module: fx.GraphModule) -> None:
    if sees_forties(graph_module):
        drops_cos(graph_module)


def drops_cos_of_forties_and_fails_otherwise(graph_module: fx.GraphModule) -> None:
    if not sees_forties(graph_module):
        raise ValueError("these are no forties")
    drops_cos(graph_module)


def written(pass_: PassLike) -> tuple[str, Wrong]:
    manager, graph_module, judgement = PassManager([pass_]), fx.symbolic_trace(Model()), Judgement([torch.ones(3)])
    wrong = judgement.judge(manager, graph_module)
    assert wrong is not None
    return script_of(manager, graph_module, judgement, wrong), wrong


def test_tensors_are_made_at_random_where_the_same_goes_wrong_with_those() -> None:
    script, wrong = written(drops_cos)
    assert "torch.load" not in script
    assert "torch.randn((3,), dtype=torch.float32)" in script
    assert wrong.text not in script


@pytest.mark.parametrize("pass_", [drops_cos_of_forties, drops_cos_of_forties_and_fails_otherwise])
def test_tensors_are_kept_where_only_they_show_what_is_wrong(pass_: PassLike) -> None:
    script, wrong = written(pass_)
    assert "torch.randn" not in script
    assert script.count("torch.load") == 2
    assert script.splitlines()[0] == f'"""{pass_.__name__}: {wrong.text}'
