"""Extractors of one mode, for models that take other arguments, or no capture at all, in the other."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import ArgumentTypeError, CaptureError, ModeError, ReturnNodesError, UnknownNodeError
from fxpasses.feature_extraction.diagnosis import diagnose
from fxpasses.feature_extraction.fidelity import check_fidelity
from fxpasses.feature_extraction.selection import Selection


class NeedsTargets(nn.Module):
    """Like a detector: training needs a second argument."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        hidden = self.norm(self.linear(x if x.shape[1] == 4 else x[:, :4]))
        if not self.training:
            return hidden.relu()
        if targets is None:
            raise ValueError("targets should not be none when in training mode")
        return (hidden - targets).sum()


class SamplesInTrain(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x) if self.training else x


class SamplesInEval(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if self.training or x.sum() > 0 else x


def copies(extractor: Any) -> list[Any]:
    return [extractor, copy.copy(extractor), copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))]


@pytest.mark.parametrize("capture", ["auto", "values", "export"])
def test_one_mode_is_enough(capture: Any) -> None:
    model, x = NeedsTargets().eval(), torch.randn(3, 4)
    extractor = create_feature_extractor(model, ["norm"], example_inputs=(x,), capture=capture, mode="eval")
    assert torch.equal(extractor(x)["norm"], model.norm(model.linear(x)))
    assert bool(check_fidelity(extractor, model, x))


def test_the_mode_is_the_one_asked_for_and_the_model_is_left_in_its_own(unchanged: Any) -> None:
    model = unchanged(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    extractor = create_feature_extractor(model, ["1"], mode="eval")
    assert (extractor.training, extractor.only_mode) == (False, "eval")
    assert create_feature_extractor(model, ["1"], suppress_diff_warning=True).only_mode is None


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_other_mode_is_an_error_also_of_copies(mode: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    training = mode == "train"
    for extractor in copies(create_feature_extractor(model, ["1"], mode=mode)):
        assert extractor.train(training) is extractor
        for switch in (partial(extractor.train, not training), partial(setattr, extractor, "training", not training)):
            with pytest.raises(
                ModeError, match=rf"made with mode='{mode}'(?s:.*)create_feature_extractor\(model, return_nodes\)"
            ):
                switch()
            assert extractor.training is training
        assert len(getattr(extractor, f"{mode}_graph").nodes) == 4
        with pytest.raises(ModeError):
            getattr(extractor, "eval_graph" if training else "train_graph")


def test_an_error_in_one_mode_names_the_mode_that_works() -> None:
    with pytest.raises(CaptureError, match=r"targets should not be none(?s:.*)mode='eval' captures eval mode alone"):
        create_feature_extractor(NeedsTargets(), ["norm"], example_inputs=torch.ones(2, 4))
    with pytest.raises(CaptureError, match="mode='train' captures train mode alone"):
        get_graph_node_names(SamplesInEval(), example_inputs=torch.ones(2))


def test_a_name_of_the_other_mode_is_reported_as_one() -> None:
    model = nn.Sequential(nn.Linear(2, 2), SamplesInTrain())
    with pytest.raises(
        UnknownNodeError, match=r"not present in model in eval mode, only in train mode(?s:.*)mode='train'"
    ):
        create_feature_extractor(model, ["1.dropout"], mode="eval")


def test_names_are_those_of_the_mode_though_the_other_cannot_be_captured() -> None:
    x = torch.randn(2, 4)
    with pytest.raises(UnknownNodeError, match="node 'sub' is not present"):
        create_feature_extractor(NeedsTargets(), ["sub"], example_inputs=x, mode="eval")
    extractor = create_feature_extractor(NeedsTargets(), ["sub"], example_inputs=(x, x), mode="train")
    assert extractor.selection == Selection(train=(("sub", "sub"),), eval=())


def test_what_one_mode_cannot_mean_is_an_error() -> None:
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(ArgumentTypeError, match="'train' and 'eval'"):
        create_feature_extractor(model, ["0"], mode="current")  # pyright: ignore[reportArgumentType] # what is tested
    with pytest.raises(ReturnNodesError, match="return_nodes"):
        create_feature_extractor(model, train_return_nodes=["0"], eval_return_nodes=["0"], mode="eval")


def test_the_diagnosis_advises_one_mode_where_no_capture_takes_both() -> None:
    diagnosis = diagnose(NeedsTargets(), torch.ones(2, 4))
    assert diagnosis.only_mode() == "eval"
    assert (
        diagnosis.call() == "create_feature_extractor(model, names, example_inputs=(torch.empty((2, 4)),), mode='eval')"
    )
    assert diagnosis.advice().startswith("This works, in eval mode alone: ")
    assert diagnose(nn.Sequential(nn.ReLU()), torch.ones(2)).only_mode() is None
