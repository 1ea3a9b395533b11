"""Each model on which torchvision's extractor (0.29.2) was seen to be wrong, and what is right. B1 … B27 number them."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from support.oracle import Calls, assert_bit_equal
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import (
    DuplicateOutputError,
    EmptySelectionError,
    FidelityWarning,
    ModeDifferenceWarning,
    UnknownNodeError,
)

X = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)


class Model(nn.Module):
    """Children by keyword, and a forward that is given."""

    def __init__(self, forward: Callable[..., Any], **children: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


def linear() -> nn.Linear:
    return nn.Linear(3, 3)


def features(model: nn.Module, wanted: Any) -> dict[str, Any]:
    return create_feature_extractor(model.eval(), wanted, suppress_diff_warning=True)(X.clone())


def assert_calls(model: nn.Module, wanted: list[str]) -> None:
    """The features are what hooks see at each module's call, in the order asked for."""
    calls = Calls(model.eval(), X.clone())
    found = features(model, wanted)
    assert list(found) == wanted
    for name in wanted:
        path, _, call = name.partition("@")
        assert_bit_equal(found[name], calls.returned[path][int(call or 0)], name)


def test_b1_a_later_write_does_not_change_a_feature() -> None:
    assert_calls(nn.Sequential(linear(), nn.ReLU(inplace=True)), ["0", "1"])
    assert_calls(convolutional_block(), ["bn", "relu"])


def convolutional_block() -> nn.Module:
    return nn.Sequential(OrderedDict(linear=linear(), bn=nn.BatchNorm1d(3), relu=nn.ReLU(inplace=True)))


WRITES: dict[str, Callable[[Any, torch.Tensor], object]] = {
    "module": lambda s, y: s.r(y),
    "method": lambda s, y: y.relu_(),
    "flag": lambda s, y: nn.functional.relu(y, inplace=True),
    "function": lambda s, y: torch.relu_(y),
    "out": lambda s, y: torch.add(y, 1, out=y),
    "view": lambda s, y: y[:, :1].mul_(3),
}


@pytest.mark.parametrize("write", WRITES)
def test_b2_a_write_whose_result_nobody_uses_is_kept(write: str) -> None:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        y = s.a(x)
        WRITES[write](s, y)
        return s.b(y)

    model = Model(forward, a=linear(), r=nn.ReLU(inplace=True), b=linear()).requires_grad_(False)
    assert_calls(model, ["b"])


def test_b2_a_counter_counts_calls_and_not_traces() -> None:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.n.add_(1)
        return s.a(x) * s.n

    model = Model(forward, a=linear()).eval()
    model.register_buffer("n", torch.zeros(1))
    get_graph_node_names(model)
    extractor = create_feature_extractor(model, ["a", "mul"])
    assert model.n.item() == 0
    assert torch.equal(extractor(X)["mul"], model.a(X))
    assert model.n.item() == 1


def test_b3_a_number_at_the_end_of_a_name_belongs_to_it() -> None:
    model = nn.Sequential(OrderedDict(conv_1=linear(), conv_2=linear()))
    assert get_graph_node_names(model)[1] == ["input", "conv_1", "conv_2"]
    assert_calls(model, ["conv_1", "conv_2"])


def test_b3_the_two_norms_of_a_vision_transformer_are_told_apart() -> None:
    vit = torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16).eval()
    image = torch.rand(1, 3, 32, 32)
    calls = Calls(vit, image)
    layer = "encoder.layers.encoder_layer_0"
    found = create_feature_extractor(vit, [f"{layer}.ln_1", f"{layer}.ln_2"])(image)
    for name, value in found.items():
        assert_bit_equal(value, calls.returned[name][0], name)


def test_b3_inputs_and_parameters_keep_their_numbers() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w_0, self.w_1 = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(3))

        def forward(self, x_0: torch.Tensor, x_1: torch.Tensor) -> torch.Tensor:
            return x_0 * self.w_0 + x_1 * self.w_1

    assert {"x_0", "x_1", "w_0", "w_1"} <= set(get_graph_node_names(Pair())[1])
    assert torch.equal(create_feature_extractor(Pair().eval(), ["w_1"])(X, X)["w_1"], torch.zeros(3))


@pytest.mark.parametrize("wanted", [["blk.b", "blk"], ["blk", "blk.b"]])
def test_b4_a_block_and_what_is_in_it_can_be_asked_for_together(wanted: list[str]) -> None:
    assert_calls(nn.Sequential(OrderedDict(blk=nn.Sequential(OrderedDict(a=linear(), b=linear())))), wanted)


def test_b5_an_exact_name_is_preferred_and_siblings_do_not_steal() -> None:
    model = Model(lambda s, x: s.stem_1(s.stem(x)), stem=nn.Sequential(nn.Linear(3, 4)), stem_1=nn.Linear(4, 5))
    assert_calls(model, ["stem", "stem.0", "stem_1"])
    both = Model(lambda s, x: s.x(x), x=nn.Sequential(linear()))
    found = features(both, ["x", "x.0"])
    assert list(found) == ["x", "x.0"]
    assert torch.equal(found["x.0"], both.x(X))


class WithAuxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.aux = linear(), linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        self.aux(x)
        return y


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x + 2


class Skip(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_b6_a_block_is_what_it_returned() -> None:
    assert_calls(Model(lambda s, x: s.blk(x), blk=WithAuxiliary()), ["blk", "blk.aux"])
    assert_calls(Model(lambda s, x: s.blk(x)[0], blk=Pair()), ["blk"])
    assert_calls(Model(lambda s, x: s.blk(s.blk(x)), blk=nn.Sequential(linear())), ["blk", "blk@1"])
    assert_calls(Model(lambda s, x: s.blk(x) * 2, blk=Skip()), ["blk"])


def test_b7_two_names_with_one_key_are_refused() -> None:
    with pytest.raises(DuplicateOutputError, match="'f'"):
        create_feature_extractor(nn.Sequential(linear(), linear()), {"0": "f", "1": "f"})


def test_b8_a_name_is_no_pattern() -> None:
    model = nn.Sequential(OrderedDict(a_b=linear()))
    for name in ("a.b", "("):
        with pytest.raises(UnknownNodeError):
            create_feature_extractor(model, [name])
    with pytest.raises(EmptySelectionError):
        create_feature_extractor(model, [])


class Moody(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if self.training else torch.tanh(x)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
@pytest.mark.parametrize("training", [True, False])
def test_b9_and_b10_a_copy_has_both_graphs_and_the_mode(copied: Callable[[Any], Any], training: bool) -> None:
    made = create_feature_extractor(
        Moody(), train_return_nodes=["relu"], eval_return_nodes=["tanh"], suppress_diff_warning=True
    ).train(training)
    twin = copied(made)
    assert twin.training is training
    assert list(twin(X)) == ["relu" if training else "tanh"]
    assert list(twin.eval()(X)) == ["tanh"]
    assert list(twin.train()(X)) == ["relu"]


def test_b11_what_is_left_out_of_a_random_model_shifts_no_number_unseen() -> None:
    """Two dropouts side by side: without the first, the second draws what the first would have drawn."""
    model = Model(lambda s, x: s.d1(x) + s.d2(x), d1=nn.Dropout(), d2=nn.Dropout()).train()
    torch.manual_seed(3)
    expected = Calls(model, X).returned
    torch.manual_seed(3)
    found = create_feature_extractor(model, ["d1", "d2"], suppress_diff_warning=True).train()(X)
    for name in ("d1", "d2"):
        assert_bit_equal(found[name], expected[name][0], name)


def test_b12_a_number_drawn_while_tracing_is_a_warning() -> None:
    model = Model(lambda s, x: s.a(x) + torch.randn(3), a=linear())
    with pytest.warns(FidelityWarning, match="random"):
        create_feature_extractor(model, ["add"])


def test_b13_an_augmented_assignment_changes_every_name_of_the_value() -> None:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x)
        z = y
        y += 1
        return s.last(z)

    model = Model(forward, last=nn.Identity())
    assert_calls(model, ["last"])


def test_b14_a_frozen_layer_stays_frozen() -> None:
    model = nn.Sequential(OrderedDict(linear=linear(), bn=nn.BatchNorm1d(3))).train()
    model.bn.eval()
    get_graph_node_names(model)
    create_feature_extractor(model, ["bn"])
    assert (model.training, model.linear.training, model.bn.training) == (True, True, False)


def test_b15_an_error_leaves_the_mode() -> None:
    def undecidable(s: Any, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x

    for model, wanted in ((nn.Sequential(linear()), ["typo"]), (Model(undecidable), ["x"])):
        for training in (True, False):
            model.train(training)
            with pytest.raises((UnknownNodeError, RuntimeError)):
                create_feature_extractor(model, wanted)
            assert model.training is training


def test_b16_switching_the_extractor_leaves_the_model() -> None:
    """A leaf that both have is one module with one mode; the model itself keeps its own, and a copy changes nothing."""
    model = nn.Sequential(OrderedDict(blk=nn.Sequential(linear(), nn.BatchNorm1d(3)))).eval()
    extractor = create_feature_extractor(model, ["blk"])
    copy.deepcopy(extractor).train()
    assert not any(module.training for module in model.modules())
    extractor.train()
    assert not model.training
    assert not model.blk.training


def test_b17_tracing_adds_no_attribute() -> None:
    model = Model(lambda s, x: s.a(x) + torch.ones(3), a=linear())
    before = set(dir(model))
    for _ in range(3):
        get_graph_node_names(model)
    assert set(dir(model)) == before


def test_b18_what_the_forward_stores_is_no_proxy_afterwards() -> None:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.last = s.a(x)
        return s.last * 2

    model = Model(forward, a=linear())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FidelityWarning)
        create_feature_extractor(model, ["mul"])
    assert "last" not in vars(model)


def test_b19_options_are_left_alone_and_may_be_any_collection() -> None:
    options = {"leaf_modules": (nn.Sequential,), "autowrap_modules": [sys.modules["math"]]}
    before = copy.copy(options)
    model = nn.Sequential(OrderedDict(blk=nn.Sequential(linear())))
    assert "blk" in get_graph_node_names(model, tracer_kwargs=options)[0]
    assert options == before


def test_b20_reuse_of_modules_with_any_names() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(linear(), relu, linear(), relu, linear(), relu)
    assert get_graph_node_names(model)[1] == ["input", "0", "1", "2", "1_1", "4", "1_2"]
    often = Model(lambda s, x: [x := getattr(s, "0")(x) for _ in range(12)][-1], **{"0": nn.ReLU()})
    assert len(get_graph_node_names(often)[1]) == 13
    inner = nn.Sequential(OrderedDict(b=linear()))
    both = Model(lambda s, x: s.a_b(s.a(x)), a_b=linear(), a=inner)
    assert_calls(both, ["a.b", "a_b"])

    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        return s.conv(s.conv_2(s.conv_2(x)))

    assert_calls(
        Model(forward, conv_2=linear(), conv=nn.Sequential(linear(), nn.ReLU())), ["conv_2", "conv_2@1", "conv"]
    )


def test_b21_submodules_may_have_the_names_of_attributes() -> None:
    names = ["train_graph", "eval_graph", "graph", "code", "meta", "recompile", "print_readable"]
    assert_calls(Model(_chain(names), **{name: linear() for name in names}), names)


def _chain(names: list[str]) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        for name in names:
            x = s._modules[name](x)
        return x

    return forward


def test_b22_another_constant_or_wiring_in_a_mode_is_a_warning() -> None:
    constant = Model(lambda s, x: x * 2 if s.training else x * 3)
    wiring = Model(lambda s, x: s.b(s.a(x)) if s.training else s.a(s.b(x)), a=linear(), b=linear())
    for model, wanted in ((constant, "mul"), (wiring, "a")):
        with pytest.warns(ModeDifferenceWarning):
            create_feature_extractor(model, [wanted])


def test_b23_nodes_know_the_modules_around_them() -> None:
    model = nn.Sequential(OrderedDict(blk=nn.Sequential(OrderedDict(a=linear()))))
    graph = create_feature_extractor(model.eval(), ["blk.a"]).graph
    (node,) = graph.find_nodes(op="call_module", target="blk.a")
    assert list(node.meta["nn_module_stack"]) == ["blk", "blk.a"]


def test_b24_a_hook_of_a_container_that_does_not_fire_is_a_warning() -> None:
    model = nn.Sequential(nn.Sequential(linear())).eval()
    model[0].register_forward_hook(lambda *_: None)
    with pytest.warns(FidelityWarning, match="hook"):
        create_feature_extractor(model, ["0"])


def test_b25_an_operation_gives_way_to_a_module_of_its_name() -> None:
    model = Model(lambda s, x: s.add(x + x), add=linear())
    assert get_graph_node_names(model)[1] == ["x", "add_1", "add"]
    assert_calls(model, ["add"])


def test_b25_a_nested_parameter_has_its_own_path() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alpha = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.alpha

    assert torch.equal(features(nn.Sequential(OrderedDict(blk=Scaled())), ["blk.alpha"])["blk.alpha"], torch.ones(3))


def test_b26_aliases_the_order_asked_for_and_tuples() -> None:
    model = Model(lambda s, x: s.b(s.a(x)), a=linear())
    model.b = model.a
    found = features(model, ("b", "a", "x"))
    assert list(found) == ["b", "a", "x"]
    assert_bit_equal(found["a"], model.a(X))


def test_b27_naming_is_linear() -> None:
    def steps(length: int) -> int:
        model = nn.Sequential(*(nn.ReLU() for _ in range(length)))
        count = [0]
        sys.setprofile(lambda *_: count.__setitem__(0, count[0] + 1))
        try:
            get_graph_node_names(model)
        finally:
            sys.setprofile(None)
        return count[0]

    steps(10)
    assert steps(800) < 2.3 * steps(400)
