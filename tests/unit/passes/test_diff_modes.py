from __future__ import annotations

import itertools

import pytest
import torch
from support import examples
from torch import fx, nn
from torch.nn import functional

from fxpasses.capture import capture_symbolic
from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.meta import set_name
from fxpasses.passes.diff_modes import DiffModes, ModeDiff, _moved, diff_as_networkx, diff_graphs
from fxpasses.passes.name_nodes import NameNodes


def _diff(model: nn.Module) -> ModeDiff:
    train, eval_ = (NameNodes()(capture_symbolic(model, training=mode)).graph_module for mode in (True, False))
    result = DiffModes(eval_)(train)
    assert not result.modified
    return result.diff


class Several(nn.Module):
    """Differs in every way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def layers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Calls `a` and then `b`, in evaluation mode the other way round; returns them in one order."""
        if self.training:
            return self.a(x), self.b(x)
        return (self.b(x), self.a(x))[::-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.layers(x)
        first = first.sigmoid() if self.training else first.cos()
        kept = functional.dropout(first, 0.3, self.training)
        return kept * (first if self.training else second)


def test_every_kind_of_difference() -> None:
    diff = _diff(Several())
    assert [change.name for change in diff.only_train] == ["sigmoid"]
    assert [change.name for change in diff.only_eval] == ["cos"]
    assert [change.name for change in diff.changed] == ["dropout"]
    assert [change.name for change in diff.rewired] == ["mul"]
    assert len(diff.reordered) == 1
    assert diff.reordered[0].name in ("a", "b")
    assert bool(diff)


def test_the_same_in_both_modes() -> None:
    diff = _diff(examples.Stacked())
    assert not diff
    assert diff.changes == ()
    assert str(diff) == "train and eval mode compute the same graph"


def test_a_number_that_differs_is_a_change() -> None:
    class Scales(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if self.training else x * 3

    assert [(change.name, change.status) for change in _diff(Scales()).changes] == [("mul", "changed")]


def test_the_part_that_concerns_some_nodes() -> None:
    diff = _diff(Several()).restricted_to({"dropout", "x"})
    assert [change.name for change in diff.changes] == ["dropout"]
    assert not _diff(Several()).restricted_to({"x"})


def test_it_takes_a_graph_module() -> None:
    with pytest.raises(ArgumentTypeError, match="the other mode's GraphModule"):
        DiffModes(nn.ReLU())  # pyright: ignore[reportArgumentType]


def test_a_long_chain_is_compared_soon() -> None:
    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(4000):
                x = torch.relu(x)
            return functional.dropout(x, training=self.training)

    assert [change.name for change in _diff(Chain()).changes] == ["dropout"]


def test_two_values_of_one_name_are_both_compared() -> None:
    graphs = [fx.symbolic_trace(function).graph for function in (_abs_cos, _sin_cos, _abs_cos)]
    for graph in graphs:
        for node, name in zip(graph.nodes, ("x", "a", "a"), strict=False):
            set_name(node, name, "exact")
    assert [str(change) for change in diff_graphs(graphs[0], graphs[1]).changes] == [
        "a: changed: abs(%) in train mode, sin(%) in eval mode"
    ]
    assert not diff_graphs(graphs[0], graphs[2])


def _abs_cos(x: torch.Tensor) -> torch.Tensor:
    return x.abs().cos()


def _sin_cos(x: torch.Tensor) -> torch.Tensor:
    return x.sin().cos()


def test_it_tells_where_a_value_comes_from_in_each_mode() -> None:
    rewired = _diff(Several()).rewired
    assert str(rewired[0]) == "mul: rewired: from dropout, sigmoid in train mode, from dropout, b in eval mode"


class Repeats(nn.Module):
    """Uses a value twice, around another one."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, y, x] if self.training else [y, x, y])


def test_a_value_that_is_used_twice_is_told_at_both_places() -> None:
    assert str(_diff(Repeats())) == "cat: rewired: from x, y, x in train mode, from y, x, y in eval mode"


class Swaps(Several):
    """Runs two layers in another order, and uses a constant that cannot be compared at a glance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(*self.layers(x), alpha=float("0.5"))


def test_order_alone_is_no_other_wiring() -> None:
    assert [change.status for change in _diff(Swaps()).changes] == ["reordered"]


def test_the_union_has_what_one_mode_alone_has() -> None:
    train, eval_ = (NameNodes()(capture_symbolic(Several(), training=mode)).graph_module for mode in (True, False))
    union = diff_as_networkx(train.graph, eval_.graph)
    statuses = {name: data["status"] for name, data in union.nodes(data=True)}
    assert (statuses["sigmoid"], statuses["cos"], statuses["x"]) == ("only in train", "only in eval", "same")
    assert union.nodes["cos"]["target"] == "cos"
    assert "True" in union.nodes["dropout"]["constants"]  # as in train mode
    modes = {(source, user): modes for source, user, modes in union.edges(data="modes")}
    assert modes["a", "sigmoid"] == ("train",)
    assert modes["a", "cos"] == ("eval",)
    assert modes["dropout", "mul"] == ("train", "eval")


@pytest.mark.parametrize("count", range(7))
def test_as_few_nodes_as_possible_are_said_to_have_moved(count: int) -> None:
    for order in itertools.permutations(range(count)):
        left = [position for index, position in enumerate(order) if index not in _moved(list(order))]
        assert left == sorted(left)
        assert len(left) == max(length for length in range(count + 1) if _has_increasing(order, length))


def _has_increasing(order: tuple[int, ...], length: int) -> bool:
    return any(list(part) == sorted(part) for part in itertools.combinations(order, length))
