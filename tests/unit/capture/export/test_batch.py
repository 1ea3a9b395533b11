"""What an export makes of the batch of its inputs: models that treat one sample in their own way are right, too."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from support.oracle import assert_bit_equal
from torch import nn

from fxpasses import create_feature_extractor
from fxpasses.capture.export.batch import batch_of
from fxpasses.capture.exported import capture_exported
from fxpasses.errors import GuardError


class Running(nn.Module):
    """A model whose forward is a given function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


_ONE = torch.linspace(-1.0, 1.0, 6).reshape(1, 2, 3)
_FOR_ONE_ONLY = {
    "a constant of a branch": lambda x: x * 2 if len(x) == 1 else x * 3,
    "an operation of a branch": lambda x: x.relu() if x.shape[0] == 1 else x.tanh(),
    "one operation more": lambda x: x.relu() if x.shape[0] == 1 else x.relu().relu(),
    "a squeezed batch": lambda x: x.squeeze() + 1,
    "a text": lambda x: nn.functional.pad(x, (1, 1), mode="constant" if len(x) == 1 else "reflect"),
    "a flag": lambda x: x.sum(0, keepdim=len(x) == 1).sum(dim=-1, keepdim=len(x) == 1),
    "a fixed size": lambda x: x.reshape(1, 6) * 2,
    "a sum over the batch that meets a sample": lambda x: x.sum((1, 2)) + x[0],
}
_FOR_ANY = {
    "operations": lambda x: torch.relu(x) * 2 + 1,
    "sizes": lambda x: x.reshape(x.shape[0] * 2, 3).reshape(x.shape[0], -1),
    "a mean": lambda x: x / x.shape[0] + x * (1.0 / x.shape[0]),
    "an assertion that spells its sizes": lambda x: (torch._assert(x.ndim == 3, f"got {tuple(x.shape)}"), x + 1)[1],
    "positions": lambda x: x + torch.arange(x.shape[0])[:, None, None],
}


@pytest.mark.parametrize("name", sorted(_FOR_ONE_ONLY))
def test_a_model_that_treats_one_sample_in_its_own_way_is_exported_for_one(name: str) -> None:
    model = Running(_FOR_ONE_ONLY[name])
    assert batch_of(model, (_ONE,), {}).args[0] is _ONE
    assert_bit_equal(capture_exported(model, _ONE)(_ONE), model(_ONE))


@pytest.mark.parametrize("name", sorted(_FOR_ANY))
def test_a_model_that_treats_all_samples_alike_gets_two(name: str) -> None:
    (doubled,), _, _ = batch_of(Running(_FOR_ANY[name]), (_ONE,), {})
    assert_bit_equal(doubled, torch.cat([_ONE, _ONE]))


_GIVEN_SEVERAL = sorted(_FOR_ONE_ONLY.keys() - {"a fixed size", "a sum over the batch that meets a sample"})


@pytest.mark.parametrize("name", _GIVEN_SEVERAL)
@pytest.mark.parametrize("samples", [2, 5])
def test_a_model_that_was_given_several_samples_is_not_used_on_one_that_it_treats_in_its_own_way(
    name: str, samples: int
) -> None:
    model, given = Running(_FOR_ONE_ONLY[name]), torch.cat([_ONE] * samples)
    assert batch_of(model, (given,), {}).least == 2
    extractor = create_feature_extractor(model, ["x"], capture="export", example_inputs=given)
    extractor(torch.cat([_ONE] * 3))
    with pytest.raises(GuardError, match=r"shape \(at least 2, 2, 3\); got \(1, 2, 3\)"):
        extractor(_ONE)


@pytest.mark.parametrize("name", sorted(_FOR_ANY))
def test_a_model_that_was_given_several_samples_is_used_on_one_that_it_treats_alike(name: str) -> None:
    model, given = Running(_FOR_ANY[name]), torch.cat([_ONE] * 5)
    assert batch_of(model, (given,), {}) == ((given,), {}, 1)
    assert_bit_equal(capture_exported(model, given)(_ONE), model(_ONE))


def test_a_model_that_takes_no_single_sample_gets_two() -> None:
    model = nn.BatchNorm1d(3).train()
    (doubled,), _, _ = batch_of(model, (torch.ones(1, 3),), {})
    assert doubled.shape == (2, 3)
    assert capture_exported(model, torch.ones(1, 3))(torch.randn(4, 3)).shape == (4, 3)


@pytest.mark.parametrize("other", [torch.ones(2, 3), torch.ones(1)], ids=["a second sample", "no batch"])
def test_what_is_no_batch_of_one_stays(other: torch.Tensor) -> None:
    kwargs = {"other": other}
    assert batch_of(nn.Identity(), (_ONE,), kwargs) == ((_ONE,), kwargs, 1)
    assert batch_of(nn.Identity(), (3,), {}) == ((3,), {}, 1)


def test_each_tensor_of_the_inputs_is_doubled_wherever_it_is() -> None:
    class Adds(nn.Module):
        def forward(self, pair: Any, *, scale: Any) -> torch.Tensor:
            return (pair[0] + pair[1]["deep"]) * scale

    (pair,), kwargs, _ = batch_of(Adds(), ([_ONE, {"deep": _ONE}],), {"scale": 2})
    assert (pair[0].shape, pair[1]["deep"].shape, kwargs) == ((2, 2, 3), (2, 2, 3), {"scale": 2})


def test_the_model_and_the_inputs_are_not_written(unchanged: Any) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.norm(x.mul_(2))

    model, x = unchanged(Counts().train()), _ONE.reshape(1, 3, 2).clone()
    stream = torch.get_rng_state()
    batch_of(model, (x,), {})
    assert torch.equal(x, _ONE.reshape(1, 3, 2))
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.filterwarnings("ignore:The tensor attribute self.table was assigned during export")
@pytest.mark.parametrize("samples", [1, 2])
def test_what_a_model_keeps_of_a_run_without_data_is_forgotten(samples: int) -> None:
    class Caches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table is None:
                self.table = torch.arange(3.0)
            return x + self.table

    model, x = Caches(), torch.cat([_ONE] * samples)
    assert_bit_equal(capture_exported(model, x)(x), x + torch.arange(3.0))
    assert model.table is None


def test_a_model_that_takes_one_sample_only_is_no_news_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        batch_of(Running(lambda x: x.sum((1, 2)) + x[0]), (_ONE,), {})
    assert caplog.records == []
    assert not logging.getLogger("torch._subclasses.fake_tensor").disabled


def test_sizes_that_are_fixed_by_request_are_those_of_the_example() -> None:
    model = Running(lambda x: x.reshape(len(x), 6))
    assert_bit_equal(capture_exported(model, _ONE, dynamic_shapes=None)(_ONE), model(_ONE))
