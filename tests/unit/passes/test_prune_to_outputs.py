from __future__ import annotations

from typing import Any

import pytest
import torch
from support import examples
from support.oracle import assert_bit_equal
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import (
    ArgumentTypeError,
    DuplicateOutputError,
    EmptySelectionError,
    UnknownNodeError,
    UnmetNeedError,
    UnselectableValueError,
)
from fxpasses.graph.meta import qualified_name
from fxpasses.manager import PassManager
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs, output_pairs


def _named(model: nn.Module) -> fx.GraphModule:
    return NameNodes()(capture_symbolic(model)).graph_module


def test_only_what_is_needed_remains() -> None:
    result = PruneToOutputs(["blocks.0.first"])(_named(examples.Stacked()))
    names = [qualified_name(node) for node in result.graph_module.graph.nodes if node.op != "output"]
    assert names == ["x", "blocks.0.first"]
    assert list(result.graph_module.state_dict()) == ["blocks.0.first.weight", "blocks.0.first.bias"]
    assert (result.removed_nodes, result.removed_tensors) == (11, 8)


def test_unused_inputs_stay() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) + y

    pruned = PruneToOutputs(["relu"])(_named(Two())).graph_module
    assert_bit_equal(pruned(torch.ones(2), torch.ones(2)), {"relu": torch.ones(2)})


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.add_(1), lambda y: torch.relu_(y), lambda y: nn.functional.relu(y, inplace=True),
        lambda y: y[:, :1].mul_(3), lambda y: torch.add(y, 1, out=y), lambda y: y.view(-1).fill_(2.0),
        lambda y: nn.functional.dropout(y, 1.0, True, True), lambda y: y.copy_(y * 2),
    ],
)  # fmt: skip
def test_a_write_whose_result_nobody_uses_is_kept(write: Any) -> None:
    class Writes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + 1
            write(y)
            return y * 2

    x = torch.randn(2, 3)
    named = _named(Writes())
    last = str(qualified_name(named.graph.output_node().all_input_nodes[0]))
    assert_bit_equal(PruneToOutputs([last])(named).graph_module(x)[last], Writes()(x))


def test_an_assertion_keeps_nothing_alive() -> None:
    class Asserts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)
            z = self.second(y)
            torch._assert(z.shape[0] == x.shape[0], "the same batch")
            return z

    pruned = PruneToOutputs(["first"])(_named(Asserts())).graph_module
    assert list(pruned.state_dict()) == ["first.weight", "first.bias"]


def test_the_selection_is_checked() -> None:
    with pytest.raises(EmptySelectionError):
        PruneToOutputs([])
    with pytest.raises(DuplicateOutputError, match="'a' and 'b'"):
        PruneToOutputs({"a": "k", "b": "k"})
    with pytest.raises(ArgumentTypeError, match=r"\['layer1'\]"):
        PruneToOutputs("layer1")
    assert output_pairs(["a", "a"]) == (("a", "a"),)


def test_unknown_names_all_at_once() -> None:
    with pytest.raises(UnknownNodeError) as raised:
        PruneToOutputs(["haed", "blocks.7"])(_named(examples.Stacked()))
    assert "'haed'" in str(raised.value)
    assert "'blocks.7'" in str(raised.value)


def test_a_graph_without_names_is_refused_before_anything_runs() -> None:
    captured = capture_symbolic(examples.Stacked())
    before = str(captured.graph)
    with pytest.raises(UnmetNeedError, match="names"):
        PassManager([PruneToOutputs(["head"])])(captured)
    assert str(captured.graph) == before


def test_a_value_that_no_graph_can_return() -> None:
    class Number(nn.Module):
        def forward(self, _x: torch.Tensor) -> int:
            return 3

    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = Number()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.number(x)

    with pytest.raises(UnselectableValueError, match="'number'"):
        PruneToOutputs(["number"])(_named(Uses()))


def test_a_pruned_module_does_not_hold_the_model_alive() -> None:
    import gc
    import weakref

    model = examples.Stacked()
    pruned = PruneToOutputs(["blocks.0.first"])(_named(model)).graph_module
    reference = weakref.ref(model.head)
    del model
    gc.collect()
    assert reference() is None
    assert pruned(torch.ones(2, 3))["blocks.0.first"].shape == (2, 3)
