from __future__ import annotations

import pytest
import torch
from support import examples
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import UnselectableValueError
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes


def _values(model: nn.Module) -> NamedValues:
    return NamedValues(NameNodes()(capture_symbolic(model)).graph_module)


def _name(value: object) -> str | None:
    assert isinstance(value, fx.Node)
    return qualified_name(value)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("x", "x"), ("blocks", "blocks.1.relu_1"), ("blocks.0", "blocks.0.relu_1"), ("blocks.0@0", "blocks.0.relu_1"),
        ("blocks.0.first", "blocks.0.first"), ("head@0", "head"), ("", "head"),
    ],
)  # fmt: skip
def test_a_name_stands_for_a_value(asked: str, found: str) -> None:
    values = _values(examples.Stacked())
    if asked:
        assert asked in values
        assert _name(values.value(asked)) == found


def test_further_calls_by_number() -> None:
    values = _values(examples.CalledTwice())
    assert _name(values.value("block@1")) == "block.relu_3"
    assert _name(values.value("leaf@1")) == "leaf_1"
    assert "block@2" not in values


def test_every_path_of_a_module() -> None:
    values = _values(examples.Aliased())
    assert values.value("second") is values.value("first")
    assert values.value("second.first") is values.value("first.first")


def test_what_is_not_there() -> None:
    values = _values(examples.Stacked())
    for name in ("blocks.2", "block", "blocks.", ".", "blocks.0.first.weight", 3):
        assert name not in values
    with pytest.raises(KeyError):
        values.value("blocks.2")


def test_near_names() -> None:
    values = _values(examples.Stacked())
    assert values.near("blocks.0.frist")[0] == "blocks.0.first"
    assert values.near("block.0.frist")[0] == "blocks.0.first"
    assert values.near("relu_1")[0].endswith("relu_1")
    assert values.near("something else entirely, far away") == []


def test_a_value_that_was_removed_says_so() -> None:
    graph_module = NameNodes()(capture_symbolic(examples.Stacked())).graph_module
    output = graph_module.graph.output_node()
    output.args = (next(iter(graph_module.graph.nodes)),)
    for node in reversed(graph_module.graph.nodes):
        if node.op.startswith("call"):
            graph_module.graph.erase_node(node)
    with pytest.raises(UnselectableValueError, match="no longer in the graph"):
        NamedValues(graph_module).value("blocks")


def test_the_moment_of_a_module_is_its_return() -> None:
    class Writes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(x)
            y.add_(1)
            return y

    values = _values(nn.Sequential(Writes()))
    moment = values.moment("0")
    assert moment is not None
    assert (_name(values.value("0")), _name(moment)) == ("0.relu", "0.add_")
    assert values.moment("0.relu") is None


def test_what_is_no_text_is_no_name() -> None:
    values = _values(examples.Stacked())
    assert None not in values
    assert ["blocks"] not in values
