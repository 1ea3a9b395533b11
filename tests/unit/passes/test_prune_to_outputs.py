from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import examples
from support.oracle import assert_bit_equal
from torch import fx, nn
from torch.utils import _pytree as pytree

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
from fxpasses.passes.protect_outputs import ProtectOutputs
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


class PutsLast(nn.Module):
    """What is written may be put into the first argument, if that is a list, but only after it was last read."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Identity()

    def forward(self, x: Any, y: torch.Tensor) -> Any:
        doubled = y.mul_(2)
        same = self.identity(x)
        x += doubled
        return same, x


def test_what_only_a_removed_node_made_a_need_is_removed_too() -> None:
    result = PruneToOutputs(["identity"])(_named(PutsLast()))
    assert [node.name for node in result.graph_module.graph.nodes] == ["x", "y", "identity", "output"]
    assert PruneToOutputs(["identity"])(result.graph_module).removed_nodes == 0


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
    with pytest.raises(ArgumentTypeError, match=r"selection='layer1': expected several names; write \['layer1'\]\."):
        PruneToOutputs("layer1")
    with pytest.raises(ArgumentTypeError, match=r"write a list of names or a dict from names to keys\."):
        PruneToOutputs(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentTypeError, match=r"selection holds 3 of type int; names and keys are strings\."):
        PruneToOutputs({"a": 3})  # pyright: ignore[reportArgumentType]
    assert output_pairs(["a", "a"]) == (("a", "a"),)


def test_unknown_names_all_at_once() -> None:
    with pytest.raises(UnknownNodeError) as raised:
        PruneToOutputs(["haed", "q" * 20])(_named(examples.Stacked()))
    first, second = str(raised.value).splitlines()
    assert first.startswith("No value is called 'haed'. Near names: 'head'")
    assert second == f"No value is called '{'q' * 20}'."


class Annotated(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.relu(x)]


def test_what_the_model_said_of_its_result_is_not_said_of_the_features() -> None:
    pruned = PruneToOutputs(["relu"])(_named(Annotated())).graph_module
    assert pruned.graph.output_node().type is None
    assert "-> list" not in pruned.code


class Keeps(nn.Module):
    """Returns a named tuple inside other containers, of values that it and its caller write."""

    def __init__(self, wrap: Callable[[examples.Pair], Any]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        small, large = x + 1, x + 2
        small.abs_()
        large.mul_(2)
        return self.wrap(examples.Pair(small, large))


class WritesWhatItGot(nn.Module):
    def __init__(self, wrap: Callable[[examples.Pair], Any]) -> None:
        super().__init__()
        self.keeps = Keeps(wrap)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small, large = pytree.tree_leaves(self.keeps(x))[:2]
        return small.mul_(0) + large.mul_(0)


@pytest.mark.parametrize(
    "wrap",
    [lambda pair: {"pair": pair}, lambda pair: [pair], lambda pair: ({"deep": (pair,)},), lambda pair: pair],
    ids=["dict", "list", "deep", "itself"],
)
def test_a_named_tuple_in_a_container_has_the_values_of_its_moment(wrap: Callable[[examples.Pair], Any]) -> None:
    pruned = PruneToOutputs(["keeps", "add"])(_named(WritesWhatItGot(wrap))).graph_module
    pruned.graph.lint()
    x = torch.randn(2, 3)
    protected = ProtectOutputs()(pruned).graph_module
    assert_bit_equal(protected(x)["keeps"], wrap(examples.Pair((x + 1).abs(), (x + 2) * 2)))


def test_a_named_tuple_may_hold_a_number() -> None:
    pruned = PruneToOutputs(["keeps"])(_named(Holds())).graph_module
    x = torch.randn(2, 3)
    found = pruned(x)["keeps"]
    assert type(found) is examples.Pair
    assert found.large == 3
    assert_bit_equal(found.small, torch.relu(x))
    assert not NameNodes()(pruned).modified


class Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.keeps = _PairWithNumber()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small, large = self.keeps(x)
        return small.mul_(0) + large


class _PairWithNumber(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return examples.Pair(torch.relu(x), 3)  # pyright: ignore[reportArgumentType]


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
