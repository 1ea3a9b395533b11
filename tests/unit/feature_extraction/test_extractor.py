from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from support import examples
from support.oracle import Calls, assert_bit_equal
from torch import fx, nn
from torch.nn import functional

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import FidelityWarning, ModeDifferenceWarning


def test_the_result_is_a_graph_module_with_graph_and_code() -> None:
    extractor = create_feature_extractor(examples.Stacked(), ["blocks.0"])
    assert isinstance(extractor, fx.GraphModule)
    assert [node.op for node in extractor.graph.nodes][-1] == "output"
    assert "def forward" in extractor.code
    assert type(extractor).__name__ == "Stacked"


def test_keys_come_in_the_order_asked_for_under_the_names_asked_for() -> None:
    extractor = create_feature_extractor(examples.Stacked(), {"head": "z", "blocks.0": "a", "x": "m"})
    assert list(extractor(torch.ones(2, 3))) == ["z", "a", "m"]


def test_only_what_is_needed_remains_and_is_the_models_own() -> None:
    model = examples.Stacked()
    extractor = create_feature_extractor(model, ["blocks.0"])
    assert list(extractor.state_dict()) == [
        "blocks.0.first.weight", "blocks.0.first.bias", "blocks.0.second.weight", "blocks.0.second.bias",
    ]  # fmt: skip
    own = dict(model.named_parameters())
    assert all(parameter is own[name] for name, parameter in extractor.named_parameters())


def test_parameters_come_in_the_order_of_first_use() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    names = [name for name, _ in create_feature_extractor(Backwards(), ["last"]).named_parameters()]
    assert names == ["first.weight", "first.bias", "last.weight", "last.bias"]


@pytest.mark.parametrize("container", ["tuple", "list", "dict", "named"])
def test_a_modules_name_is_what_the_module_returned(container: str) -> None:
    model = examples.UsesSplit(container)
    x = torch.randn(2, 3)
    expected = Calls(model, x).returned["split"][0]
    assert_bit_equal(create_feature_extractor(model, ["split"])(x)["split"], expected)


def test_a_named_tuple_stays_one() -> None:
    features = create_feature_extractor(examples.UsesSplit("named"), ["split"])(torch.randn(2, 3))
    assert features["split"].small.shape == (2, 2)


@pytest.mark.parametrize("make", [examples.ReturnsInput, examples.Empty, examples.ReturnsEarlierValue])
def test_a_modules_name_is_not_the_last_operation_inside(make: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(3, 3), make(), nn.Linear(3, 3))
    x = torch.randn(2, 3)
    calls = Calls(model, x)
    features = create_feature_extractor(model, ["2", "1", "0"])(x)
    assert_bit_equal(features, {name: calls.returned[name][0] for name in ("2", "1", "0")})


def test_nested_names_together() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Sequential(nn.Sigmoid(), nn.Linear(3, 3))))
    x = torch.randn(2, 3)
    wanted = ["1.1.1", "1", "1.1", "1.1.0", "0", "input"]
    calls = Calls(model, x)
    features = create_feature_extractor(model, wanted)(x)
    assert list(features) == wanted
    assert_bit_equal(features, {name: calls.returned.get(name, [x])[0] for name in wanted})


def test_a_module_called_twice_has_a_name_for_each_call() -> None:
    model = examples.CalledTwice()
    x = torch.randn(2, 3)
    calls = Calls(model, x).returned
    wanted = [
        "block",
        "block_1",
        "block@0",
        "block@1",
        "leaf",
        "leaf_1",
        "leaf@0",
        "leaf@1",
        "block.first",
        "block.first@1",
    ]
    features = create_feature_extractor(model, wanted)(x)
    for name in wanted:
        path, _, index = name.replace("_1", "@1").partition("@")
        assert_bit_equal(features[name], calls[path][int(index or 0)], name)


def test_a_module_with_two_paths_is_known_by_both() -> None:
    model = examples.Aliased()
    x = torch.randn(2, 3)
    calls = Calls(model, x).returned["first"]
    features = create_feature_extractor(model, ["first", "second", "first_1", "second.second"])(x)
    assert_bit_equal(features["first"], calls[0])
    assert_bit_equal(features["second"], calls[0])
    assert_bit_equal(features["first_1"], calls[1])


def test_a_container_that_is_never_called_means_its_last_result() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
            self.branches = nn.ModuleDict({"a": examples.Residual(), "b": examples.Residual()})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.relu(layer(x))
            return self.branches["a"](x) + self.branches["b"](x)

    model = Listed()
    x = torch.randn(2, 3)
    calls = Calls(model, x).returned
    features = create_feature_extractor(model, ["layers", "branches", "layers.0"])(x)
    assert_bit_equal(features["layers"], calls["layers.1"][0])
    assert_bit_equal(features["branches"], calls["branches.b"][0])


def test_parameters_and_buffers_can_be_asked_for_by_their_own_path() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.register_buffer("shift", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + self.shift

    model = nn.Sequential(Scaled())
    features = create_feature_extractor(model, ["0.scale", "0.shift", "0"])(torch.ones(2, 3))
    assert features["0.scale"] is model[0].scale
    assert features["0.shift"] is model[0].shift


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_the_models_and_switches(training: bool) -> None:
    model = examples.TwoModes().train(training)
    extractor = create_feature_extractor(
        model, train_return_nodes=["auxiliary", "tanh"], eval_return_nodes=["refine"], suppress_diff_warning=True
    )
    x = torch.randn(2, 3)
    keys = {True: ["auxiliary", "tanh"], False: ["refine"]}
    assert extractor.training is training
    assert model.training is training
    for mode in (training, not training, training, training):
        assert list(extractor.train(mode)(x)) == keys[mode]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_both_modes_survive_a_copy(training: bool, copied: Any) -> None:
    model = examples.TwoModes().train(training)
    extractor = create_feature_extractor(
        model, train_return_nodes=["auxiliary"], eval_return_nodes=["refine"], suppress_diff_warning=True
    )
    again = copied(extractor)
    x = torch.randn(2, 3)
    assert again.training is training
    for mode in (training, not training, training):
        assert_bit_equal(again.train(mode)(x), extractor.train(mode)(x))
    assert [node.name for node in again.graph.nodes] == [node.name for node in extractor.graph.nodes]


def test_frozen_layers_stay_frozen(unchanged) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3)))
    model.train()
    model[1][1].eval()
    model[0].eval()
    unchanged(model)
    get_graph_node_names(model)
    create_feature_extractor(model, ["1"])


def test_current_mode_is_each_modules_own(unchanged) -> None:
    class Frozen(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(x, training=self.training) if self.training else torch.abs(x)

    model = nn.Sequential(Frozen(), Frozen()).train()
    model[0].eval()
    assert get_graph_node_names(unchanged(model), mode="current") == ["input", "0.abs", "1.dropout"]
    assert get_graph_node_names(model, mode="train") == ["input", "0.dropout", "1.dropout"]
    assert get_graph_node_names(model, mode="eval") == ["input", "0.abs", "1.abs"]


def test_hooks_and_attributes_stay(unchanged) -> None:
    class Remembers(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x + torch.ones(3)
            return self.last

    model = nn.Sequential(nn.Linear(3, 3), Remembers())
    model[0].register_forward_hook(lambda *_: None)
    model[1].register_forward_pre_hook(lambda *_: None)
    unchanged(model)
    get_graph_node_names(model)
    with (
        pytest.warns(FidelityWarning, match=r"'1' \(Remembers\) has hooks"),
        pytest.warns(FidelityWarning, match=r"'1' \(Remembers\) sets the attribute 'last'"),
    ):
        features = create_feature_extractor(model, ["1"])(torch.ones(2, 3))
    assert_bit_equal(features["1"], model[0](torch.ones(2, 3)) + 1)


def test_constants_of_the_forward_are_each_modes_own() -> None:
    class Shifts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + torch.arange(3)) * (torch.full((3,), 5.0) if self.training else torch.full((3,), 7.0))

    extractor = create_feature_extractor(nn.Sequential(Shifts()), ["0"], suppress_diff_warning=True)
    x = torch.ones(2, 3)
    for module in (extractor, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert torch.equal(module.train()(x)["0"], (x + torch.arange(3)) * 5)
        assert torch.equal(module.eval()(x)["0"], (x + torch.arange(3)) * 7)
        assert list(module.state_dict()) == []


def test_a_buffer_that_the_forward_writes_to_is_not_written_to(unchanged) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return x * 2

    model = unchanged(Counts())
    create_feature_extractor(model, ["mul"])
    get_graph_node_names(model)


def _warnings(model: nn.Module, *args: Any, **kwargs: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        create_feature_extractor(model, *args, **kwargs)
    assert all(warning.category is ModeDifferenceWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_a_warning_only_when_the_requested_part_differs() -> None:
    model = examples.TwoModes()
    assert _warnings(model, ["stem"]) == []
    message = _warnings(model, train_return_nodes=["auxiliary"], eval_return_nodes=["sigmoid"])
    assert len(message) == 1
    assert "refine: only in eval" in message[0]
    assert "auxiliary: only in train" in message[0]
    assert (
        _warnings(model, train_return_nodes=["auxiliary"], eval_return_nodes=["refine"], suppress_diff_warning=True)
        == []
    )


def test_a_changed_argument_is_a_difference() -> None:
    class Drops(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(x, training=self.training)

    (message,) = _warnings(nn.Sequential(Drops()), ["0"])
    assert "0.dropout: changed" in message


def test_names_of_both_modes_warn_when_they_differ() -> None:
    with pytest.warns(ModeDifferenceWarning, match="auxiliary: only in train"):
        get_graph_node_names(examples.TwoModes())


def test_leaves_become_one_node() -> None:
    model = examples.Stacked()
    assert get_graph_node_names(model, mode="eval", leaf_modules=[examples.Residual]) == [
        "x", "blocks.0", "blocks.1", "mean", "head",
    ]  # fmt: skip
    extractor = create_feature_extractor(model, ["blocks.1"], leaf_modules=(examples.Residual,))
    x = torch.randn(2, 3)
    assert_bit_equal(extractor(x)["blocks.1"], Calls(model, x).returned["blocks.1"][0])
    assert (
        extractor.blocks[1]
        if isinstance(extractor.blocks, nn.Sequential)
        else extractor.get_submodule("blocks.1") is model.blocks[1]
    )


def test_concrete_args_are_constants() -> None:
    class Flagged(nn.Module):
        def forward(self, x: torch.Tensor, flip: bool) -> torch.Tensor:
            return -x if flip else x * 2

    names = get_graph_node_names(Flagged(), mode="eval", concrete_args={"flip": True})
    assert "neg" in names
    extractor = create_feature_extractor(Flagged(), ["neg"], concrete_args={"flip": True})
    assert torch.equal(extractor(torch.ones(2), True)["neg"], -torch.ones(2))


def test_torchvisions_style_of_names() -> None:
    model = nn.ModuleDict({"ln_1": nn.LayerNorm(3), "ln_2": nn.LayerNorm(3)})

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = model["ln_1"], model["ln_2"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.ln_2(self.ln_1(x).abs())

    assert get_graph_node_names(Normed(), mode="eval") == ["x", "ln_1", "abs", "ln_2"]
    assert get_graph_node_names(Normed(), mode="eval", names="torchvision") == ["x", "ln", "abs", "ln_1"]


def test_company_changes_no_value() -> None:
    model = examples.Stacked()
    x = torch.randn(2, 3)
    names = get_graph_node_names(model, mode="eval")
    together = create_feature_extractor(model, names)(x)
    for name in names:
        assert_bit_equal(create_feature_extractor(model, [name])(x)[name], together[name], name)


def test_gradients_reach_the_models_parameters() -> None:
    model = examples.Stacked()
    create_feature_extractor(model, ["blocks"])(torch.randn(2, 3))["blocks"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.blocks.parameters())
    assert model.head.weight.grad is None


class _WritesBeforeReturning(nn.Module):
    def __init__(self, container: type[tuple]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)
        self.container = container

    def forward(self, x: torch.Tensor) -> object:
        y, z = self.linear(x), self.other(x)
        y.abs_()
        z.mul_(2)
        return examples.Pair(y, z) if self.container is examples.Pair else (y, z)


class _WritesAfterCalling(nn.Module):
    def __init__(self, container: type[tuple]) -> None:
        super().__init__()
        self.block = _WritesBeforeReturning(container)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, z = self.block(x)
        y.add_(100)
        return y + z.neg_()


@pytest.mark.parametrize("container", [tuple, examples.Pair])
def test_a_module_returns_what_it_returned_at_that_moment(container: type[tuple]) -> None:
    model = _WritesAfterCalling(container)
    x = torch.randn(2, 3)
    calls = Calls(model, x)
    features = create_feature_extractor(model, ["block", "block.linear", "block.other", "add"])(x)
    assert calls.overwritten == {"block", "block.linear", "block.other"}
    for name in ("block", "block.linear", "block.other"):
        assert_bit_equal(features[name], calls.returned[name][0], name)
    assert_bit_equal(features["add"], calls.output)
