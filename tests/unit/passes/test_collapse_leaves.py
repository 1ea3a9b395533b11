from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import examples
from support.oracle import Calls, assert_bit_equal
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import ArgumentTypeError, CollapseError, UnknownLeafError
from fxpasses.graph.meta import capture_record, qualified_name
from fxpasses.manager import PassManager
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs


class Measured(nn.Module):
    def forward(self, x: torch.Tensor, size: Any) -> torch.Tensor:
        return x.reshape(size[1], size[0]) * 2


class PassesShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Measured()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x.shape) + x.sum()


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class SharesParameter(nn.Module):
    """The block is the first to read a parameter that is read again after it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Scaled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.block.scale


class SeveralThrough(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.empty = examples.Empty()
        self.unused = examples.ReturnsInput()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.unused(self.empty(x) + 1)
        return self.empty(y) + y + self.unused(self.empty(y))


class Chained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = examples.Split("tuple")
        self.second = examples.Split("dict")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small, (large, same) = self.first(x)
        parts = self.second(same + 1)
        return small * parts["large"] + large


class WithKeywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = _Keyworded()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x, scale=2.0, other={"bias": [x + 1, x + 2]})


class _Keyworded(nn.Module):
    def forward(self, x: torch.Tensor, scale: float = 1.0, other: Any = None) -> torch.Tensor:
        return x * scale + other["bias"][0] - other["bias"][1]


_CASES: dict[str, tuple[Callable[[], nn.Module], tuple[type[nn.Module], ...]]] = {
    "blocks": (examples.Stacked, (examples.Residual,)),
    "containers": (examples.Stacked, (nn.Sequential,)),
    "nested leaves": (examples.Stacked, (nn.Sequential, examples.Residual)),
    "called twice": (examples.CalledTwice, (examples.Residual,)),
    "aliased": (examples.Aliased, (examples.Residual,)),
    "a tuple": (lambda: examples.UsesSplit("tuple"), (examples.Split,)),
    "a list": (lambda: examples.UsesSplit("list"), (examples.Split,)),
    "a dict": (lambda: examples.UsesSplit("dict"), (examples.Split,)),
    "a named tuple": (lambda: examples.UsesSplit("named"), (examples.Split,)),
    "what was given": (lambda: nn.Sequential(nn.ReLU(), examples.ReturnsInput(), nn.ReLU()), (examples.ReturnsInput,)),
    "nothing computed": (lambda: nn.Sequential(nn.ReLU(), examples.Empty(), nn.ReLU()), (examples.Empty,)),
    "nothing computed first": (lambda: nn.Sequential(examples.Empty(), nn.ReLU()), (examples.Empty,)),
    "nothing computed last": (lambda: nn.Sequential(nn.ReLU(), examples.Empty()), (examples.Empty,)),
    "several through": (SeveralThrough, (examples.Empty,)),
    "several through, two classes": (SeveralThrough, (examples.Empty, examples.ReturnsInput)),
    "an earlier value": (
        lambda: nn.Sequential(examples.ReturnsEarlierValue(), nn.ReLU()),
        (examples.ReturnsEarlierValue,),
    ),
    "an argument computed by the caller": (PassesShape, (Measured,)),
    "a parameter read elsewhere": (SharesParameter, (Scaled,)),
    "one after another": (Chained, (examples.Split,)),
    "keywords": (WithKeywords, (_Keyworded,)),
}

# The caller uses both what it passed and what it got back, and in a trace they are one.
_AMBIGUOUS = ("several through", "several through, two classes")


def _lines(graph: fx.Graph) -> list[tuple[str, str, str, str]]:
    """Describes each node by its name, what it does and the names of what it uses."""
    return [
        (
            qualified_name(node) or "",
            node.op,
            str(node.target),
            str(fx.map_arg((node.args, node.kwargs), lambda each: f"%{qualified_name(each)}")),
        )
        for node in graph.nodes
    ]


@pytest.mark.parametrize("named_before", [True, False], ids=["named before", "named after"])
@pytest.mark.parametrize("case", _CASES)
def test_collapsing_is_tracing_with_the_leaves(case: str, named_before: bool) -> None:
    make, leaves = _CASES[case]
    model = make()
    traced = NameNodes()(capture_symbolic(model, tracer_options={"leaf_modules": leaves})).graph_module
    # A name that a node has already is kept, though a trace with leaves would find the parameter elsewhere.
    passes = [NameNodes()] if named_before and case != "a parameter read elsewhere" else []
    collapsed = PassManager([*passes, CollapseLeaves(leaves), NameNodes()])(capture_symbolic(model)).graph_module
    assert [line[:3] for line in _lines(collapsed.graph)] == [line[:3] for line in _lines(traced.graph)]
    if case not in _AMBIGUOUS:
        assert _lines(collapsed.graph) == _lines(traced.graph)
    x = torch.randn(2, 3)
    assert_bit_equal(collapsed(x), traced(x))
    assert_bit_equal(collapsed(x), model(x))
    collapsed.graph.lint()


@pytest.mark.parametrize("case", _CASES)
def test_the_result_can_be_pruned_to_the_leaves(case: str) -> None:
    make, leaves = _CASES[case]
    model = make()
    path = next(path for path, module in model.named_modules() if isinstance(module, leaves))
    pipeline = PassManager([NameNodes(), CollapseLeaves(leaves), NameNodes(), PruneToOutputs([path])])
    x = torch.randn(2, 3)
    pruned = pipeline(capture_symbolic(model)).graph_module
    assert_bit_equal(pruned(x)[path], Calls(model, x).returned[path][0])


def test_leaves_by_path_by_class_and_by_predicate() -> None:
    expected = ("blocks.1",)
    for leaf in ("blocks.1", lambda path, kind: path.endswith("1") and kind is examples.Residual):
        assert CollapseLeaves([leaf])(capture_symbolic(examples.Stacked())).collapsed == expected
    assert CollapseLeaves([examples.Residual])(capture_symbolic(examples.Stacked())).collapsed == (
        "blocks.0",
        "blocks.1",
    )


def test_the_module_is_the_models_own() -> None:
    model = examples.Stacked()
    collapsed = CollapseLeaves(["blocks.1"])(capture_symbolic(model)).graph_module
    assert collapsed.get_submodule("blocks.1") is model.blocks[1]


def test_no_leaves_and_leaves_that_are_leaves_already_change_nothing() -> None:
    graph_module = capture_symbolic(examples.Stacked())
    for leaves in ([], [nn.Linear], [lambda *_: False]):
        result = CollapseLeaves(leaves)(graph_module)
        assert (result.modified, result.collapsed) == (False, ())


@pytest.mark.parametrize(("leaf", "asked"), [(nn.Conv2d, "the class Conv2d"), ("blocks.7", r"the path 'blocks\.7'")])
def test_a_leaf_that_never_occurs(leaf: Any, asked: str) -> None:
    message = (
        rf"^No module call of the graph belongs to {asked}\. Calls that were traced through: Residual, Sequential\.$"
    )
    with pytest.raises(UnknownLeafError, match=message):
        CollapseLeaves([leaf])(capture_symbolic(examples.Stacked()))


def test_where_nothing_was_traced_through_an_unknown_leaf_is_told_so() -> None:
    with pytest.raises(UnknownLeafError, match=r"traced through: none\.$"):
        CollapseLeaves(["3"])(capture_symbolic(nn.Linear(2, 2)))


def test_a_parameter_is_no_leaf_though_its_path_is_asked_for() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    with pytest.raises(UnknownLeafError, match="the path 'scale'"):
        CollapseLeaves(["scale"])(capture_symbolic(Scales()))


def test_what_is_inside_of_a_leaf_inside_of_a_leaf_goes_with_it() -> None:
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(nn.ReLU()))), nn.Tanh())
    collapsed = CollapseLeaves(["0", "0.0.0"])(capture_symbolic(model))
    assert collapsed.collapsed == ("0",)
    record = capture_record(collapsed.graph_module)
    assert record is not None
    assert record.calls == ()


def test_the_original_may_be_given_though_the_record_has_one() -> None:
    model, other = examples.Stacked(), examples.Stacked()
    collapsed = CollapseLeaves(["blocks.1"], root=other)(capture_symbolic(model)).graph_module
    assert collapsed.get_submodule("blocks.1") is other.blocks[1]


@pytest.mark.parametrize("leaves", [examples.Residual, "blocks.0", 3])
def test_a_leaf_that_is_not_in_a_list(leaves: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="a list of classes, paths or predicates"):
        CollapseLeaves(leaves)


class Leaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = _Remembers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.inner.hidden


class _Remembers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hidden = torch.tanh(x)
        return self.hidden * 2


def test_a_value_that_leaves_the_region_by_another_way_is_an_error() -> None:
    graph_module = capture_symbolic(Leaks(), warn=False)
    before = str(graph_module.graph)
    with pytest.raises(CollapseError, match=r"_Remembers at 'inner' .* 'inner_tanh' .* 'add'|'tanh'"):
        CollapseLeaves(["inner"])(graph_module)
    assert str(graph_module.graph) == before


def test_a_graph_from_elsewhere_needs_the_model() -> None:
    model = examples.Stacked()
    with pytest.raises(CollapseError, match=r"root=model"):
        CollapseLeaves([examples.Residual])(fx.symbolic_trace(model))
    collapsed = CollapseLeaves([examples.Residual], root=model)(fx.symbolic_trace(model)).graph_module
    x = torch.randn(2, 3)
    assert [str(node.target) for node in collapsed.graph.nodes if node.op == "call_module"] == [
        "blocks.0",
        "blocks.1",
        "head",
    ]
    assert_bit_equal(collapsed(x), model(x))


def test_collapsing_in_two_steps_is_collapsing_at_once() -> None:
    at_once = CollapseLeaves(["blocks.0", "blocks.1"])(capture_symbolic(examples.Stacked())).graph_module
    for order in (["blocks.0", "blocks.1"], ["blocks.1", "blocks.0"]):
        stepwise = PassManager([CollapseLeaves([leaf]) for leaf in order])(capture_symbolic(examples.Stacked()))
        assert _lines(NameNodes()(stepwise.graph_module).graph_module.graph) == _lines(
            NameNodes()(at_once).graph_module.graph
        )


class PassesOn(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"same": y, "difference": x - y}


class PassesOnTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = PassesOn(), PassesOn()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        same = self.first(y, x)["same"]
        return torch.relu(same) + self.second(y, same)["same"]


def test_an_entry_that_is_an_argument_is_picked_after_the_call_though_the_argument_was_used_before() -> None:
    captured = CollapseLeaves(["second"])(capture_symbolic(PassesOnTwice())).graph_module
    captured.graph.lint()
    both = CollapseLeaves(["first"])(captured).graph_module
    both.graph.lint()
    x, y = torch.randn(3), torch.randn(3)
    assert_bit_equal(both(x, y), PassesOnTwice()(x, y))


class PassOn(nn.Module):
    def forward(self, x):
        return x


class PassingOnTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = PassOn()
        self.second = PassOn()

    def forward(self, x):
        return torch.relu(self.second(self.first(x)))


@pytest.mark.parametrize("steps", [["first", "second"], ["second", "first"]])
def test_modules_without_operations_keep_their_order_in_any_order_of_steps(steps):
    captured = capture_symbolic(PassingOnTwice())
    for path in steps:
        CollapseLeaves([path])(captured)
    captured.graph.lint()
    assert [node.name for node in captured.graph.nodes] == ["x", "first", "second", "relu", "output"]
    assert [node.args for node in captured.graph.find_nodes(op="call_module")] == [
        (node.prev,) for node in captured.graph.find_nodes(op="call_module")
    ]
