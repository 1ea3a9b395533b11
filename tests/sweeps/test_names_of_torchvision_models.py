"""The names of all torchvision models are torchvision's, in order, but for two kinds of difference.

1. Torchvision breaks its own rule: it cuts `_<number>` off a name that a user chose, so that the layers `ln_1` and
   `ln_2` of a vision transformer are called `ln` and `ln_1`. The exact style keeps such names; the torchvision style
   does as torchvision does.
2. Torchvision leaves nodes out: operations on buffers and constants alone, which it computes once and for all while
   it traces. Here they are nodes, so that a later change of the buffer counts.
"""

from __future__ import annotations

import re

import pytest
from support.zoo import TRACEABLE, UNTRACEABLE, build, models
from torch import fx, nn
from torchvision.models import feature_extraction as torchvision_extraction

from fxpasses import get_graph_node_names
from fxpasses.capture import capture_symbolic
from fxpasses.errors import CaptureError
from fxpasses.graph.meta import qualified_name
from fxpasses.passes.name_nodes import NameNodes, NameStyle, buffer_expressions

_MISNAMED = {"vit_b_16": 24, "vit_b_32": 24, "vit_l_16": 48, "vit_l_32": 48, "vit_h_14": 64}
"""How many names differ by kind 1; no other model has any."""


def _names(model: nn.Module, training: bool, style: NameStyle) -> tuple[list[str], list[str]]:
    """Returns the names of all nodes, and of those that torchvision knows too."""
    captured = NameNodes(style)(capture_symbolic(model, training=training)).graph_module
    folded = buffer_expressions(captured)
    nodes = [node for node in captured.graph.nodes if node.op != "output"]
    return [_named(node) for node in nodes], [_named(node) for node in nodes if node not in folded]


def _named(node: fx.Node) -> str:
    name = qualified_name(node)
    assert name is not None, node
    return name


@pytest.mark.parametrize("name", models(TRACEABLE))
def test_names_are_torchvisions(name: str) -> None:
    model = build(name, "meta")
    theirs = torchvision_extraction.get_graph_node_names(model, suppress_diff_warning=True)
    for training, expected in zip((True, False), theirs, strict=True):
        _, compatible = _names(model, training, "torchvision")
        assert compatible == expected
        everything, ours = _names(model, training, "exact")
        assert len(set(everything)) == len(everything)
        assert len(ours) == len(expected)
        differing = [(our, their) for our, their in zip(ours, expected, strict=True) if our != their]
        assert len(differing) == _MISNAMED.get(name, 0)
        modules = dict(model.named_modules())
        for our, their in differing:
            assert re.search(r"_[0-9]+$", our), (our, their)
            assert our in modules, (our, their)


@pytest.mark.parametrize("name", ["inception_v3", "resnet18", "vit_b_32"])
def test_the_public_function_gives_the_same_names(name: str) -> None:
    model = build(name, "meta")
    both = get_graph_node_names(model, suppress_diff_warning=True)
    assert both == tuple(_names(model, training, "exact")[0] for training in (True, False))


@pytest.mark.parametrize("name", models(UNTRACEABLE, ["raft_small"]))
def test_models_that_cannot_be_traced_say_where(name: str) -> None:
    kwargs = {} if name.startswith("raft") else {"weights_backbone": None}
    with pytest.raises(CaptureError, match=r"file \".*\", line \d+"):
        get_graph_node_names(build(name, "cpu", **kwargs))


def test_107_of_the_121_models_can_be_traced() -> None:
    assert (len(TRACEABLE), len(TRACEABLE) + len(UNTRACEABLE)) == (107, 121)
