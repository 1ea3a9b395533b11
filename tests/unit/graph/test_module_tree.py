from __future__ import annotations

import pytest
import torchvision
from torch import nn

from fxpasses.graph.module_tree import ModuleTree


def shared() -> nn.Module:
    block = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model = nn.Sequential(block, nn.Sequential(block, nn.ReLU()))
    model.add_module("again", block[0])
    model.register_module("nothing", None)
    return model


@pytest.mark.parametrize("model", [shared(), torchvision.models.swin_v2_t(), nn.ReLU()], ids=["shared", "swin", "leaf"])
def test_it_is_what_named_modules_tells(model: nn.Module) -> None:
    tree = ModuleTree.of(model)
    assert [(path, module) for module, path in tree.paths.items()] == list(model.named_modules())
    every = dict(model.named_modules(remove_duplicate=False))
    assert tree.aliases == {path: tree.paths[every[path]] for path in every if tree.paths[every[path]] != path}
    assert dict(tree.parameters()).keys() == {name for name, _ in model.named_parameters()}
    assert dict(tree.buffers()).keys() == {name for name, _ in model.named_buffers()}


def test_a_module_inside_itself_ends() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    model[0].add_module("outer", model)
    model[0].add_module("own", model[0])
    tree = ModuleTree.of(model)
    assert list(tree.paths.values()) == ["", "0", "0.0"]
    assert tree.aliases == {"0.outer": "", "0.own": "0"}
