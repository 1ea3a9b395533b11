"""Extractors of one model, beside each other and beside the model."""

from __future__ import annotations

import gc
import weakref

import torch
from support.artefacts import Net, both_modes, extractor_of, features, subject
from support.oracle import assert_bit_equal

from fxpasses import create_feature_extractor


def test_extractors_of_one_model_do_not_disturb_each_other(unchanged) -> None:
    model, first, x = subject(training=False)
    unchanged(model)
    alone = features(first, x)
    second = create_feature_extractor(model, ["block.norm"])
    third = extractor_of(model)
    for _ in range(2):
        assert_bit_equal(features(first, x), alone)
        assert_bit_equal(features(second, x)["block.norm"], alone["block.norm"])
        assert_bit_equal(features(third, x), alone)


def test_the_model_computes_what_it_did(unchanged) -> None:
    model = unchanged(Net().eval())
    x = torch.randn(2, 3, 6, 6)
    expected = features(model, x)
    extractor = extractor_of(model)
    features(extractor, x)
    assert_bit_equal(features(model, x), expected)


def test_changed_parameters_are_the_extractors_at_once() -> None:
    model, extractor, x = subject()
    before = both_modes(extractor, x)
    with torch.no_grad():
        model.head.weight.zero_()
        model.shift.add_(1)
    after = both_modes(extractor, x)
    for mode in (True, False):
        assert not torch.equal(after[mode]["head"], before[mode]["head"])
        assert_bit_equal(after[mode]["block"], before[mode]["block"])
        torch.testing.assert_close(after[mode]["add"], before[mode]["add"] + 1)


def test_the_mode_of_an_extractor_is_not_the_models() -> None:
    model, extractor, _ = subject(training=True)
    extractor.eval()
    assert model.training
    # What is shared is shared: the leaf modules are the model's own, and have one mode.
    assert not model.stem[1].training


def test_an_extractor_keeps_only_what_it_needs_alive() -> None:
    model = Net()
    reference = weakref.ref(model.auxiliary)
    extractor = create_feature_extractor(model, ["block"])
    del model
    gc.collect()
    assert reference() is None
    assert set(features(extractor, torch.randn(2, 3, 6, 6))) == {"block"}
