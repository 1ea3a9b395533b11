from __future__ import annotations

import pytest
import torch
from torch import nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.errors import ArgumentTypeError, CaptureError
from fxpasses.feature_extraction.diagnosis import diagnose


class DecidesOnShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x if x.shape[1] == 4 else x[:, :4])


class DecidesOnData(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def names(model, **options):
    return get_graph_node_names(model, mode="eval", **options)


@pytest.mark.parametrize("capture", ["auto", "values", "export"])
def test_examples_make_a_decision_on_a_shape_possible(capture):
    model = DecidesOnShape()
    x = torch.randn(3, 4)
    extractor = create_feature_extractor(model, ["linear"], example_inputs=(x,), capture=capture)
    assert torch.equal(extractor(x)["linear"], model(x))
    assert "linear" in names(model, example_inputs=x, capture=capture)


def test_examples_by_keyword_do_as_well():
    assert names(DecidesOnShape(), example_kwargs={"x": torch.randn(3, 4)})[0] == "x"


def test_without_examples_the_error_gives_the_call_that_would_work():
    with pytest.raises(CaptureError, match=r"example_inputs=\(x,\)"):
        names(DecidesOnShape())


def test_auto_says_what_each_capture_failed_on():
    with pytest.raises(CaptureError, match=r"values: The forward decides on data(?s:.*)export: DecidesOnData"):
        names(DecidesOnData(), example_inputs=torch.ones(2))


def test_a_capture_that_needs_examples_says_so():
    with pytest.raises(ArgumentTypeError, match="example_inputs"):
        names(DecidesOnShape(), capture="values")


def test_an_unknown_capture_is_an_error():
    with pytest.raises(ArgumentTypeError, match="'symbolic', 'values' and 'export'"):
        names(DecidesOnShape(), capture="dynamo")


def test_an_unknown_way_to_guard_is_an_error():
    with pytest.raises(ArgumentTypeError, match="'check' or 'off'"):
        create_feature_extractor(DecidesOnShape(), ["linear"], guards="maybe")


def test_an_exported_program_is_a_capture():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
    program = torch.export.export(model, (torch.ones(4, 2),))
    extractor = create_feature_extractor(model, ["1"], capture=program)
    x = torch.randn(4, 2)
    assert torch.equal(extractor(x)["1"], model(x))


@pytest.mark.parametrize("options", [{}, {"example_inputs": torch.ones(2, 3, 8, 8)}])
def test_the_captures_agree_on_the_names_of_a_plain_model(options):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten())
    expected = ["input", "0", "1", "2", "3", "4"]
    for capture in ("auto", "values", "export") if options else ("auto", "symbolic"):
        assert names(model, capture=capture, **options) == expected


def test_the_model_is_left_as_it_was_also_when_a_capture_fails(unchanged):
    model = unchanged(nn.Sequential(nn.BatchNorm2d(3).eval(), DecidesOnData()))
    with pytest.raises(CaptureError):
        names(model, example_inputs=torch.ones(2, 3, 4, 4))


def test_the_diagnosis_tries_everything_and_prints_the_causes():
    diagnosis = diagnose(DecidesOnShape(), torch.ones(2, 4))
    worked = {(trial.capture, trial.mode): trial.failure is None for trial in diagnosis.trials}
    assert worked == {
        ("symbolic", "eval"): False, ("symbolic", "train"): False, ("values", "eval"): True,
        ("values", "train"): True, ("export", "eval"): True, ("export", "train"): True,
    }  # fmt: skip
    printed = str(diagnosis)
    assert "DecidesOnShape" in printed.splitlines()[0]
    assert "cannot be traced symbolically" in printed
