from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import Kind
from fxpasses.graph.effects.copies import clone_each, clone_value, insert_copy


def _graph_of_two() -> tuple[fx.Graph, fx.Node, fx.Node]:
    graph = fx.Graph()
    first = graph.call_function(torch.relu, (graph.placeholder("x"),))
    second = graph.call_function(torch.abs, (first,))
    graph.output(second)
    return graph, first, second


def test_each_kind_of_value_has_a_copy_of_its_own() -> None:
    kinds: dict[Kind, object] = {"tensor": "clone", "tensors": clone_each, "any": clone_value, "numeric": clone_value}
    for kind, target in kinds.items():
        _, first, _ = _graph_of_two()
        assert insert_copy(first, kind).target == target


class _Boxes:
    """Holds a tensor, and knows how to copy itself; no container that torch looks into."""

    def __init__(self, corners: Tensor) -> None:
        self.corners = corners

    def clone(self) -> _Boxes:
        return _Boxes(self.corners.clone())


def test_a_value_that_can_copy_itself_is_asked_to() -> None:
    boxes = _Boxes(torch.zeros(2))
    copied: Any = clone_value(cast("Any", {"boxes": boxes}))
    boxes.corners.add_(1)
    assert copied["boxes"].corners.tolist() == [0, 0]


def test_a_copy_stands_right_behind_what_it_copies_or_where_it_is_wanted() -> None:
    for kind in ("tensor", "any"):
        graph, first, second = _graph_of_two()
        at_birth, later = insert_copy(first, kind), insert_copy(first, kind, after=second)
        assert list(graph.nodes)[1:5] == [first, at_birth, second, later]
        graph.output_node().args = ((at_birth, later),)
        copies = fx.GraphModule(nn.Module(), graph)(torch.ones(2))
        assert [copy.tolist() for copy in copies] == [[1, 1], [1, 1]]
