"""State dicts: what an extractor needs of a model's, and nothing else."""

from __future__ import annotations

import pytest
import torch
from support.artefacts import both_modes, extractor_of, subject
from support.oracle import assert_bit_equal
from torch import nn

from fxpasses import create_feature_extractor
from fxpasses.feature_extraction.checkpoints import matching_state_dict


def test_the_keys_are_the_models_own_and_the_values_too() -> None:
    model, extractor, _ = subject()
    theirs = model.state_dict()
    assert set(extractor.state_dict()) <= set(theirs)
    assert all(value.data_ptr() == theirs[name].data_ptr() for name, value in extractor.state_dict().items())
    pruned = create_feature_extractor(model, ["block"])
    assert set(theirs) - set(pruned.state_dict()) == {
        "shift", "auxiliary.weight", "auxiliary.bias", "refine.weight", "refine.bias", "head.weight", "head.bias",
    }  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_models_state_dict_loads_strictly(training: bool) -> None:
    _, source, x = subject(training)
    model, target, _ = subject(training)
    expected = both_modes(source, x)
    pruned = create_feature_extractor(model, ["block"], suppress_diff_warning=True)
    state = extractor_state = {**source.state_dict()}
    full = {**model.state_dict(), **state}
    assert not _equal(both_modes(target, x), expected)
    target.load_state_dict(matching_state_dict(target, full), strict=True)
    assert_bit_equal(both_modes(target, x), expected)
    subset = matching_state_dict(pruned, full)
    assert list(subset) == list(pruned.state_dict())
    pruned.load_state_dict(subset, strict=True)
    assert list(extractor_state) == list(source.state_dict())


def test_a_subset_keeps_the_versions_that_loading_looks_at() -> None:
    model, extractor, _ = subject()
    subset = matching_state_dict(extractor, model.state_dict())
    assert subset._metadata["stem.1"] == {"version": 2}


def test_what_is_missing_is_left_to_the_strict_load() -> None:
    model, extractor, _ = subject()
    state = model.state_dict()
    del state["head.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"head.weight\""):
        extractor.load_state_dict(matching_state_dict(extractor, state))


def test_loading_into_the_extractor_is_loading_into_the_model() -> None:
    model, extractor, _ = subject()
    zeros = {name: torch.zeros_like(value) for name, value in extractor.state_dict().items()}
    extractor.load_state_dict(zeros)
    assert all(not model.state_dict()[name].any() for name in zeros)


def test_an_extractors_own_state_dict_makes_a_round_trip() -> None:
    model, extractor, x = subject()
    expected = both_modes(extractor, x)
    other = extractor_of(type(model)())
    with torch.no_grad():
        other.load_state_dict({**other.state_dict(), **extractor.state_dict()}, assign=True)
    other.scale = extractor.scale
    assert_bit_equal(both_modes(other, x), expected)


def test_a_plain_tensor_attribute_stays_outside() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.offset = torch.ones(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + self.offset

    assert list(create_feature_extractor(Shifted(), ["add"]).state_dict()) == ["linear.weight", "linear.bias"]


def _equal(one: dict[bool, dict[str, torch.Tensor]], other: dict[bool, dict[str, torch.Tensor]]) -> bool:
    return all(torch.equal(value, other[mode][name]) for mode in one for name, value in one[mode].items())
