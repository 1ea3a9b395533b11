from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from support import examples
from support.artefacts import subject
from torch import nn
from torch.nn import functional

from fxpasses import check_fidelity, create_feature_extractor, get_graph_node_names
from fxpasses.errors import ArgumentTypeError, FidelityWarning


def extractor_of(model: nn.Module, *names: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FidelityWarning)
        return create_feature_extractor(model, list(names), suppress_diff_warning=True, **options)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_right_extractor_has_no_difference(training: bool, unchanged) -> None:
    model, extractor, x = subject(training)
    unchanged(model)
    given, stream = x.clone(), torch.get_rng_state()
    report = check_fidelity(extractor, model, x)
    assert report, str(report)
    assert report.training is training
    assert report.equal == tuple(
        name for name, _ in (extractor.selection.train if training else extractor.selection.eval)
    )
    assert torch.equal(x, given)
    assert torch.equal(torch.get_rng_state(), stream)
    assert extractor.training is training


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_every_node_of_a_model_that_writes_in_place(training: bool) -> None:
    model = examples.InPlace().train(training)
    names = get_graph_node_names(model, mode="eval")
    report = check_fidelity(extractor_of(model, *names), model, torch.randn(2, 3))
    assert report, str(report)
    assert report.equal == tuple(names)


@pytest.mark.parametrize("container", ["tuple", "list", "dict", "named"])
def test_containers_are_compared(container: str) -> None:
    model = examples.UsesSplit(container)
    assert check_fidelity(extractor_of(model, "split"), model, torch.randn(2, 3))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_what_a_leaf_of_ones_own_returned_is_compared_part_by_part(training: bool) -> None:
    model = examples.UsesSplit("tuple").train(training)
    extractor = extractor_of(model, "getitem", "getitem_1", leaf_modules=[type(model.split)])
    report = check_fidelity(extractor, model, torch.randn(2, 3))
    assert report.equal == ("getitem", "getitem_1"), str(report)


def test_the_second_call_of_a_module_is_the_second() -> None:
    model = examples.CalledTwice()
    names = ["block", "block@1", "leaf", "leaf_1", "leaf@1", "block.relu_1"]
    report = check_fidelity(extractor_of(model, *names), model, torch.randn(2, 3))
    assert report, str(report)


def test_inputs_by_keyword() -> None:
    model = examples.OddNames()
    report = check_fidelity(extractor_of(model, "add", "x"), model, {"x_2": torch.ones(2, 3), "x_1": torch.zeros(2, 3)})
    assert report, str(report)


def test_a_wrong_feature_is_found() -> None:
    model, extractor, x = subject(training=False)
    clone = next(node for node in extractor.graph.nodes if node.target == "clone")
    clone.replace_all_uses_with(clone.args[0])
    extractor.recompile()
    report = check_fidelity(extractor, model, x)
    assert not report
    (difference,) = report.differences
    assert (difference.name, difference.kind) == ("stem.1", "unknown")
    assert "stem.1" in str(report)
    assert str(report).startswith("9 of 10 features are what the model computes in eval mode")


def test_a_loss_of_the_capture_is_the_cause() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(3)

    model = nn.Sequential(nn.Linear(3, 3), Noisy(), nn.Tanh())
    report = check_fidelity(extractor_of(model, "0", "1", "2"), model, torch.ones(2, 3))
    assert report.equal == ("0",)
    assert [(each.name, each.kind) for each in report.differences] == [("1", "loss"), ("2", "loss")]
    assert "module '1' (Noisy) drew a random tensor" in report.differences[0].cause


def test_a_shifted_random_stream_is_the_cause() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Dropout(), nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) + self.second(x)

    model, x = Branches(), torch.ones(4, 16)
    assert check_fidelity(extractor_of(model, "first", "second"), model, x)
    assert check_fidelity(extractor_of(model, "first"), model, x)
    (difference,) = check_fidelity(extractor_of(model, "second"), model, x).differences
    assert (difference.name, difference.kind) == ("second", "random")
    assert difference.cause.endswith(": first")
    assert check_fidelity(extractor_of(model.eval(), "second"), model, x)


def test_a_model_that_does_not_repeat_itself_is_the_cause() -> None:
    class Counts(nn.Module):
        count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            type(self).count += 1
            return x + self.count

    model = nn.Sequential(Counts())
    (difference,) = check_fidelity(extractor_of(model, "0"), model, torch.ones(2)).differences
    assert difference.kind == "model"


def test_a_guard_is_the_cause() -> None:
    class Wide(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.shape[1] > 3 else x * 3

    model = nn.Sequential(Wide()).eval()
    extractor = extractor_of(model, "0", example_inputs=torch.ones(2, 3))
    assert check_fidelity(extractor, model, torch.ones(4, 2))
    (difference,) = check_fidelity(extractor, model, torch.ones(2, 5)).differences
    assert difference.kind == "guard"
    assert "shape" in difference.cause


def test_what_nobody_can_see_is_said() -> None:
    class Mixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.exp()
            with torch.autocast("cpu", torch.bfloat16):
                return functional.linear(y, y)

    model = nn.Sequential(nn.Linear(3, 3), Mixed())
    report = check_fidelity(extractor_of(model, "0", "1.exp"), model, torch.ones(2, 3))
    assert not report
    assert report.unseen == ("1.exp",)
    assert "1.exp  could not be seen" in str(report)


def test_running_statistics_and_frozen_layers_stay(unchanged) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    extractor = extractor_of(model, "1", "2")
    model[2].eval()
    unchanged(model)
    report = check_fidelity(extractor, model, torch.randn(4, 3))
    assert report, str(report)


def test_state_that_the_forward_keeps_is_put_back(unchanged) -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.add_(x.sum(0))
            return functional.relu(x, inplace=True) + self.total

    model, x = nn.Sequential(unchanged(Remembers())), torch.randn(2, 3)
    given = x.clone()
    report = check_fidelity(extractor_of(model, "0", "0.relu", "0.add"), model, x)
    assert report, str(report)
    assert torch.equal(x, given)


def test_an_extractor_is_needed() -> None:
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(ArgumentTypeError, match="got Sequential, which does not say what its outputs stand for"):
        check_fidelity(model, model, torch.ones(2))
    with pytest.raises(ArgumentTypeError, match=r"expected an nn\.Module"):
        check_fidelity(extractor_of(model, "0"), nn.ReLU, torch.ones(2))
