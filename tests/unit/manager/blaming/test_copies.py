from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import fx, nn

from fxpasses.manager.blaming.copies import copied, copied_without_tensors, writes_tensors

Copy = Callable[[fx.GraphModule], fx.GraphModule]


def traced(mode: bool = True) -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.Dropout()).train(mode))


@pytest.mark.parametrize("copy_of", [copied, copied_without_tensors])
@pytest.mark.parametrize("mode", [True, False])
def test_a_copy_is_in_the_same_mode(copy_of: Copy, mode: bool) -> None:
    assert [module.training for module in copy_of(traced(mode)).modules()] == [mode] * 3


@pytest.mark.parametrize("copy_of", [copied, copied_without_tensors])
def test_what_is_attached_is_shared_in_a_dict_of_its_own(copy_of: Copy) -> None:
    graph_module, record = traced(), object()
    graph_module.meta["record"] = record
    copy = copy_of(graph_module)
    assert copy.meta["record"] is record
    copy.meta.clear()
    assert graph_module.meta["record"] is record


@pytest.mark.parametrize("copy_of", [copied, copied_without_tensors])
def test_attributes_that_are_no_modules_are_there_too(copy_of: Copy) -> None:
    root = nn.Module()
    root.shift, root.held = 2, SimpleNamespace(scale=3)
    graph = fx.Graph()
    scaled = graph.call_method("mul", (graph.placeholder("x"), graph.get_attr("held.scale")))
    graph.output(graph.call_method("add", (scaled, graph.get_attr("shift"))))
    copy = copy_of(fx.GraphModule(root, graph))
    assert torch.equal(copy(torch.ones(2)), torch.full((2,), 5.0))


def writes(graph_module: fx.GraphModule) -> None:
    with torch.no_grad():
        graph_module.get_submodule("0").bias.add_(1)


def fails(graph_module: fx.GraphModule) -> None:
    raise KeyError(len(graph_module.graph.nodes))


@pytest.mark.parametrize(
    ("runs", "expected"), [([], False), ([writes], True), ([fails], False), ([writes, fails], True)]
)
def test_writes_count_even_if_a_failure_follows(runs: list[Callable[[fx.GraphModule], None]], expected: bool) -> None:
    def run(graph_module: fx.GraphModule) -> None:
        for each in runs:
            each(graph_module)

    assert writes_tensors(run, traced()) == expected
