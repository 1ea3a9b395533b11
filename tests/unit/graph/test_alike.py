from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import fx

from fxpasses.graph.alike import Alike


def alike(args: tuple[Any, ...], others: tuple[Any, ...], target: Any = torch.add, other: Any = torch.add) -> bool:
    graphs = [fx.Graph(), fx.Graph()]
    calls: list[fx.Node] = []
    for graph, function, arguments in zip(graphs, (target, other), (args, others), strict=True):
        inputs = {name: graph.placeholder(name) for name in "xy"}
        filled = fx.node.map_aggregate(arguments, lambda each, inputs=inputs: inputs.get(each, each))
        calls.append(graph.call_function(function, filled))
    names = [{node: node.name for node in graph.nodes} for graph in graphs]
    return Alike(*names).nodes(*calls)


@pytest.mark.parametrize(
    "args",
    [("x", 1), ("x", [1, ("y", None)]), ("x", {"a": "y"}), ("x", slice(None, "y")), ("x", torch.float32, True, "text")],
    ids=str,
)
def test_the_same_arguments_are_alike(args: tuple[Any, ...]) -> None:
    assert alike(args, tuple(args))


@pytest.mark.parametrize("text", ["1000", "'two words'", "torch.device('cpu')", "[1000, (None, torch.float32)]"])
def test_equal_arguments_that_are_not_the_same_object_are_alike(text: str) -> None:
    one, other = (eval(text, {"torch": torch}) for _ in range(2))
    assert one is not other
    assert alike(("x", one), ("x", other))


@pytest.mark.parametrize(
    ("args", "others"),
    [
        (("x",), ("y",)),
        (("x", 1), ("x", True)),
        (("x", 1), ("x", 1.0)),
        (("x", 0.0), ("x", -0.0)),
        (("x", [1]), ("x", (1,))),
        (("x", [1]), ("x", [1, 1])),
        (("x", {"a": 1, "b": 2}), ("x", {"b": 2, "a": 1})),
        (("x", {"a": 1}), ("x", {"b": 1})),
        (("x", {"a": 1}), ("x", {"a": 1, "b": 2})),
        (("x", slice(1)), ("x", slice(2))),
        (("x", float("nan")), ("x", float("nan"))),
    ],
    ids=str,
)
def test_other_arguments_are_not(args: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    assert not alike(args, others)


def test_other_targets_are_not() -> None:
    assert not alike(("x",), ("x",), torch.add, operator.add)


def test_an_operation_of_another_kind_is_not_alike_though_its_target_is() -> None:
    calls: list[fx.Node] = []
    for op in ("call_method", "call_module"):
        graph = fx.Graph()
        calls.append(graph.create_node(op, "relu", (graph.placeholder("x"),)))
    names = [{node: node.name for node in call.graph.nodes} for call in calls]
    assert not Alike(*names).nodes(*calls)


def _calling(op: str, target: Any) -> fx.Node:
    graph = fx.Graph()
    return graph.create_node(op, target, (graph.placeholder("x"),))


def _are_alike(one: fx.Node, other: fx.Node) -> bool:
    return Alike(*({node: node.name for node in call.graph.nodes} for call in (one, other))).nodes(one, other)


def test_a_method_of_one_name_is_one_method() -> None:
    one, other = ("".join(["a", "bs"]) for _ in range(2))
    assert one is not other
    assert _are_alike(_calling("call_method", one), _calling("call_method", other))
    assert not _are_alike(_calling("call_method", "abs"), _calling("call_method", "neg"))


@dataclass(frozen=True)
class _Over:
    number: float
    __name__ = "over"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.number / x


def test_functions_that_say_they_are_equal_may_still_compute_something_else() -> None:
    assert _Over(0.0) == _Over(-0.0)
    assert not _are_alike(_calling("call_function", _Over(0.0)), _calling("call_function", _Over(-0.0)))
