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


class NamedTensor(nn.Module):
    """Two tensors of the same name, at the top and below, that are neither parameters nor buffers."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.inner = nn.Module()
        for position, module in enumerate((self, self.inner)):
            setattr(module, name, torch.arange(3.0) + position)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x * getattr(self, self.name) - getattr(self.inner, self.name))


@pytest.mark.parametrize("name", _NAMES)
def test_a_plain_tensor_may_have_any_name(name: str) -> None:
    model = NamedTensor(name)
    extractor = create_feature_extractor(model, ["mul", "relu"])
    x = torch.randn(2, 3)
    expected = {"mul": x * getattr(model, name), "relu": model(x)}
    for module in (extractor, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert_bit_equal(module.train()(x), expected)
        assert_bit_equal(module.eval()(x), expected)
    assert list(extractor.state_dict()) == []


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


def _holding(*names: str) -> nn.Module:
    """A module in which each of these names is below the one before."""
    module = top = nn.Module()
    for name in names:
        module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    module.register_parameter("weight", nn.Parameter(torch.ones(1)))
    return top


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("inner.class.weight", "inner.class_.weight"),
        ("class.graph.weight", "class_.graph.weight"),
        ("graph.class.weight", "graph_.class_.weight"),
        ("½.weight", "½.weight"),
        ('a"b.weight', "a_b_.weight"),
    ],
)
def test_only_what_cannot_be_spelled_is_moved(path: str, moved: str) -> None:
    *names, _ = path.split(".")
    module = _holding(*names)
    weight = module.get_parameter(path)
    assert reachable_path(module, path) == moved
    assert module.get_parameter(moved) is weight


@pytest.mark.parametrize("path", ["class", "graph", "class.weight"])
def test_what_is_not_there_keeps_its_path(path: str) -> None:
    assert reachable_path(_holding("other"), path) == path


@pytest.mark.parametrize("rest", ["weight.data", "weight.data.in", "no.class.in"])
def test_what_is_below_no_module_keeps_its_path(rest: str) -> None:
    assert reachable_path(_holding("class"), f"class.{rest}") == f"class_.{rest}"


class _HasAnAlias(nn.Module):
    @property
    def class_(self) -> nn.Module:
        return self.get_submodule("class")


def test_the_name_of_a_property_is_taken() -> None:
    module = _HasAnAlias()
    module.add_module("class", nn.ReLU())
    assert reachable_path(module, "class") == "class__"


class _HoldsAParameterToo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.add_module("class", nn.Linear(3, 3))
        self.class_ = nn.Parameter(torch.randn(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, "class")(x) * self.class_


def test_a_module_does_not_take_the_name_of_a_parameter() -> None:
    model, x = _HoldsAParameterToo(), torch.randn(2, 3)
    assert_bit_equal(create_feature_extractor(model, ["mul"])(x), {"mul": model(x)})


def test_a_node_is_not_named_after_the_module_that_it_was_made_for() -> None:
    (node,) = [node for node in fx.symbolic_trace(nn.Sequential(nn.ReLU())).graph.nodes if node.op == "call_module"]
    node.meta["nn_module_stack"] = {"act": ("block.act", nn.ReLU)}
    assert module_path(node) == "0"


def test_what_was_moved_below_a_moved_module_keeps_the_users_path() -> None:
    (node,) = [node for node in fx.symbolic_trace(nn.Sequential(nn.ReLU())).graph.nodes if node.op == "call_module"]
    node.target = "class_.in_.act"
    node.meta["nn_module_stack"] = {"class.in.act": ("class.in.act", nn.ReLU)}
    assert module_path(node) == "class.in.act"
    node.meta["nn_module_stack"] = {"class.in": ("class_in.act", nn.ReLU)}
    assert module_path(node) == "class_.in_.act"
