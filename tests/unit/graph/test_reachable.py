from __future__ import annotations

import copy
import pickle

import pytest
import torch
from support.oracle import assert_bit_equal
from torch import fx, nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.capture import capture_symbolic
from fxpasses.graph.reachable import RESERVED, module_path, reachable_path
from fxpasses.passes.collapse_leaves import CollapseLeaves

_NAMES = [
    "class", "in", "graph", "code", "meta", "train_graph", "eval_graph", "selection", "recompile", "print_readable",
    "_graph", "graphs", 'a"b', "back\\slash", "compile_now", "forward_", "ª", "ﬁ", "_code", "delete_submodule",
    "nul\x00", "half a pair \ud800",
]  # fmt: skip


class Named(nn.Module):
    """Two modules of the same name, at the top and below."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Linear(3, 3))
        self.inner = nn.Sequential()
        self.inner.add_module(name, nn.Linear(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = getattr(self, self.name)(x)
        return self.inner(y) + getattr(self, self.name)(y)


@pytest.mark.parametrize("name", _NAMES)
def test_a_module_may_have_any_name(name: str) -> None:
    model = Named(name)
    assert get_graph_node_names(model, mode="eval") == ["x", name, f"inner.{name}", f"{name}_1", "add"]
    x = torch.randn(2, 3)
    wanted = [name, f"inner.{name}", f"{name}@1", "add"]
    extractor = create_feature_extractor(model, wanted)
    y = getattr(model, name)(x)
    expected = {name: y, f"inner.{name}": model.inner(y), f"{name}@1": getattr(model, name)(y), "add": model(x)}
    for module in (extractor, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert_bit_equal(module.train()(x), expected)
        assert_bit_equal(module.eval()(x), expected)


@pytest.mark.parametrize("name", ["class", "graph"])
def test_a_collapsed_module_may_have_any_name(name: str) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(name, nn.Sequential(nn.Linear(3, 3)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return getattr(self, name)(x)

    model = Around()
    collapsed = CollapseLeaves([name])(capture_symbolic(model)).graph_module
    (node,) = [node for node in collapsed.graph.nodes if node.op == "call_module"]
    assert module_path(node) == name
    x = torch.randn(2, 3)
    assert_bit_equal(collapsed(x), model(x))


def test_what_is_reserved_is_all_that_our_graph_modules_have() -> None:
    extractor = create_feature_extractor(nn.Sequential(nn.ReLU()), ["0"])
    extractor(torch.ones(1))
    own = {name for name in [*dir(extractor), *vars(extractor)] if name not in dir(nn.Module())}
    assert own - RESERVED - {"0", "_modules"} == set()


def test_a_name_that_is_taken_is_not_taken_twice() -> None:
    module = nn.Module()
    for name in ("class", "class_"):
        module.add_module(name, nn.ReLU())
    kept = module.get_submodule("class_")
    assert reachable_path(module, "class") == "class__"
    assert module.get_submodule("class_") is kept
    assert list(module._modules) == ["class__", "class_"]


def test_a_buffer_stays_out_of_the_state_dict() -> None:
    module = nn.Module()
    module.register_buffer("class", torch.ones(1), persistent=False)
    assert reachable_path(module, "class") == "class_"
    assert list(module.state_dict()) == []
    assert torch.equal(module.get_buffer("class_"), torch.ones(1))


def test_an_ordinary_path_is_left_alone() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    assert reachable_path(model, "0.0") == "0.0"
    (node,) = [node for node in fx.symbolic_trace(model).graph.nodes if node.op == "call_module"]
    assert module_path(node) == "0.0"
