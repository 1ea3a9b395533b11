"""An extractor under whatever torch runs modules under."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from support.artefacts import Net, both_modes, extractor_of, features, subject
from support.oracle import assert_bit_equal
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

# Not here: a replica of torch.nn.DataParallel. It copies parameters from one GPU to others, and a CPU has no replicas.

MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


class Written(nn.Module):
    """`Net`'s features as one writes them by hand: each value put aside, cloned, when it is made."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.training = net.training

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        net, found = self.net, dict[str, torch.Tensor]()
        x = net.stem[1](net.stem[0](x))
        found["stem.1"] = x.clone()
        x = net.stem[2](x)
        found["stem"] = x
        y = net.block.norm(net.block.conv(x))
        found["block.norm"] = y.clone()
        y = net.block.last(net.block.act(y))
        found["block.last"] = y.clone()
        y += x
        found["block"] = x = functional.relu(y, inplace=True)
        y = net.block.last(net.block.act(net.block.norm(net.block.conv(x))))
        y += x
        found["block@1"] = x = functional.relu(y, inplace=True)
        found["drop"] = net.drop(x.mean((2, 3)))
        found["add"] = y = found["drop"] * net.scale + net.shift
        if self.training:
            return {**found, "head": net.head(y + 2), "auxiliary": net.auxiliary(y)}
        refined = net.refine(y)
        return {**found, "head": net.head(refined + 3), "refine": refined}


@MODES
def test_values_are_those_of_the_hand_written_model(training: bool) -> None:
    model, extractor, x = subject(training)
    assert_bit_equal(features(extractor, x), features(Written(model), x))


@MODES
def test_gradients_are_those_of_the_hand_written_model(training: bool) -> None:
    model, extractor, x = subject(training)
    written = Written(model)
    assert_bit_equal(_gradients(extractor, model, x), _gradients(written, model, x))


def test_frozen_parameters_stay_frozen_and_can_be_thawed() -> None:
    model, _, x = subject()
    model.stem.requires_grad_(False)
    extractor = extractor_of(model)
    assert not extractor(x)["stem"].requires_grad
    assert {name for name, value in extractor.named_parameters() if not value.requires_grad} == {
        "stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias",
    }  # fmt: skip
    model.stem.requires_grad_(True)
    assert extractor(x)["stem"].requires_grad


@MODES
def test_autocast(training: bool) -> None:
    model, extractor, x = subject(training)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = features(extractor, x), features(Written(model), x)
    assert found["block"].dtype is torch.bfloat16
    assert_bit_equal(found, expected)


@MODES
def test_functional_call(training: bool) -> None:
    _, extractor, x = subject(training)
    _, other, _ = subject(training)
    tensors = _tensors(other)
    expected, own = features(other, x), features(extractor, x)
    state = {name: value.clone() for name, value in tensors.items()}
    assert_bit_equal(features(lambda x: torch.func.functional_call(extractor, state, (x,)), x), expected)
    assert_bit_equal(features(extractor, x), own)


@MODES
def test_vmap_over_inputs(training: bool) -> None:
    model = Net(norm=lambda width: nn.GroupNorm(2, width), dropout=0.0).train(training)
    extractor, x = extractor_of(model), torch.randn(3, 2, 3, 6, 6)
    mapped = torch.vmap(extractor, randomness="same")(x)
    expected = [extractor(part) for part in x]
    for name, value in mapped.items():
        torch.testing.assert_close(value, torch.stack([each[name] for each in expected]))


def test_grad_over_parameters() -> None:
    model = Net(norm=lambda width: nn.GroupNorm(2, width), dropout=0.0)
    extractor, x = extractor_of(model), torch.randn(2, 3, 6, 6)
    parameters = dict(extractor.named_parameters())

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return _loss(torch.func.functional_call(extractor, parameters, (x,)))

    expected = _gradients(extractor, extractor, x)
    found = torch.func.grad(loss)(parameters)
    assert {name for name, value in found.items() if not value.any()} == {"refine.weight", "refine.bias"}
    # torch.func takes other formulas for some derivatives.
    torch.testing.assert_close({name: found[name] for name in expected}, expected)


@MODES
def test_channels_last(training: bool) -> None:
    model, extractor, x = subject(training)
    extractor.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    found, expected = features(extractor, x), features(Written(model), x)
    assert found["stem.1"].is_contiguous(memory_format=torch.channels_last)
    assert {name: value.stride() for name, value in found.items()} == {
        name: value.stride() for name, value in expected.items()
    }
    assert_bit_equal(found, expected)


@MODES
def test_without_memory(training: bool) -> None:
    with torch.device("meta"):
        model, extractor, x = subject(training)
    found = extractor(x)
    assert all(value.is_meta for value in found.values())
    real = subject(training).extractor(torch.randn(2, 3, 6, 6))
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in real.items()}
    assert all(parameter.is_meta for parameter in model.parameters())


@MODES
def test_materialized_from_meta(training: bool) -> None:
    _, source, x = subject(training)
    with torch.device("meta"):
        extractor = subject(training).extractor
    tensors = _tensors(source)
    extractor.to_empty(device="cpu")
    with torch.no_grad():
        for name, value in [*extractor.named_parameters(), *extractor.named_buffers()]:
            value.copy_(tensors[name])
    assert_bit_equal(both_modes(extractor, x), both_modes(source, x))


@MODES
def test_fake_tensors(training: bool) -> None:
    _, extractor, x = subject(training)
    expected = features(extractor, x)
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        state = {name: mode.from_tensor(value.detach()) for name, value in _tensors(extractor).items()}
        found = torch.func.functional_call(extractor, state, (mode.from_tensor(x),))
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        name: (value.shape, value.dtype) for name, value in expected.items()
    }
    assert_bit_equal(extractor.state_dict(), before)


@MODES
def test_threads(training: bool) -> None:
    _, extractor, _ = subject(training, dropout=0.0)
    inputs = [torch.randn(2, 3, 6, 6) for _ in range(8)]
    expected = [features(extractor, x) for x in inputs]
    found: list[Any] = [None] * len(inputs)

    def run(position: int) -> None:
        for _ in range(5):
            found[position] = extractor(inputs[position])

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_bit_equal(found, expected)


def test_first_calls_of_several_threads_at_once() -> None:
    model, _, x = subject(training=False)
    expected = features(Written(model), x)
    start, found = threading.Barrier(8), list[Any]()

    def run(module: nn.Module) -> None:
        start.wait()
        found.append(module(x))

    for fresh in [extractor_of(model) for _ in range(5)]:
        threads = [threading.Thread(target=run, args=(fresh,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert_bit_equal(found, [expected] * 8)
        found.clear()


def _loss(found: dict[str, torch.Tensor]) -> torch.Tensor:
    terms = [(found[name].square() * (position + 1)).mean() for position, name in enumerate(sorted(found))]
    return torch.stack(terms).sum()


def _gradients(module: nn.Module, model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns the gradients of a loss over all that `module` returns."""
    model.zero_grad()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _loss(module(x)).backward()
    for name, value in before.items():
        model.get_buffer(name).copy_(value)
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
