from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fxpasses import create_feature_extractor
from fxpasses.capture.value_tracer import capture_with_values
from fxpasses.capture.values.guards import guards_of
from fxpasses.errors import GuardError


class Windows(nn.Module):
    """Decides on the height after a convolution, pads where it must, and loops over windows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.tail = Tail()

    def forward(self, x, scale=1.0):
        x = self.conv(x)
        height = x.shape[2]
        if height % 4 != 0:
            x = nn.functional.pad(x, (0, 0, 0, 4 - height % 4))
        x = torch.stack([window.mean(dim=2) for window in x.split(4, dim=2)], dim=2)
        return self.tail(x * scale)


class Tail(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.shape[3] > 3 else x


def outcome(call: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except GuardError as error:
        return error


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 3))
def test_each_size_runs_right_or_gets_the_guards_message(height, width, batch):
    model = Windows().eval()
    captured = capture_with_values(model, torch.zeros(2, 1, 16, 16))
    x = torch.randn(batch, 1, height, width)
    guards = guards_of(captured)
    if isinstance(outcome(guards.check, (x,), {}), GuardError):
        return
    assert torch.equal(captured(x), model(x))


@pytest.fixture
def extractor():
    return create_feature_extractor(
        Windows().eval(), ["conv", "tail"], example_inputs=torch.zeros(2, 1, 16, 16), suppress_diff_warning=True
    )


def test_the_message_has_the_decision_its_line_and_what_was_found(extractor):
    with pytest.raises(GuardError) as raised:
        extractor(torch.zeros(2, 1, 20, 16))
    message = str(raised.value)
    assert "conv.shape[2] % 4 != 0" in message
    assert "test_guards.py" in message
    assert "if height % 4 != 0" in message
    assert "(2, 1, 20, 16)" in message
    assert "guards='off'" in message


def test_the_guards_print_one_decision_a_line(extractor):
    printed = str(extractor.guards).splitlines()
    assert len(printed) == 3
    assert printed[0].startswith("not conv.shape[2] % 4 != 0")
    assert printed[2].startswith("tail") is False
    assert "in 'tail'" in printed[2]


def test_inputs_that_fit_run_and_are_looked_up_the_second_time(extractor):
    for _ in range(2):
        assert extractor(torch.randn(5, 1, 16, 9))["tail"].shape == (5, 2 * 2 * 5)


def test_guards_off_runs_nevertheless():
    model = Windows().eval()
    extractor = create_feature_extractor(
        model, ["conv"], example_inputs=torch.zeros(2, 1, 16, 16), suppress_diff_warning=True, guards="off"
    )
    assert extractor(torch.zeros(2, 1, 20, 16))["conv"].shape == (2, 2, 10, 8)


def test_decisions_after_the_last_feature_are_no_guards():
    extractor = create_feature_extractor(
        Windows().eval(), ["conv"], example_inputs=torch.zeros(2, 1, 16, 16), suppress_diff_warning=True
    )
    assert not extractor.guards.guards
    assert extractor(torch.zeros(2, 1, 20, 16))["conv"].shape == (2, 2, 10, 8)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_their_guards(extractor, duplicate):
    again = duplicate(extractor)
    assert str(again.guards) == str(extractor.guards)
    assert again(torch.randn(3, 1, 16, 16))["conv"].shape[0] == 3
    with pytest.raises(GuardError):
        again(torch.zeros(2, 1, 20, 16))


def test_both_modes_have_their_guards(extractor):
    with pytest.raises(GuardError):
        extractor.train()(torch.zeros(2, 1, 20, 16))


def test_the_guards_hold_no_weights():
    model = nn.Sequential(nn.Linear(1000, 1000), Tail())
    captured = capture_with_values(model, torch.zeros(2, 1, 5, 1000))
    assert len(pickle.dumps(guards_of(captured))) < 50_000


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "'x'"),
        ((torch.zeros(2, 1, 16, 16), 1.0, 2), {}, "3 positional"),
        ((torch.zeros(2, 1, 16, 16),), {"other": 1}, "other as well"),
        (([torch.zeros(2, 1, 16, 16)],), {}, "a tensor; got a list"),
        ((torch.zeros(2, 1, 16, 16),), {"scale": 3.0}, "scale = 2.0; got = 3.0"),
    ],
)
def test_other_arguments_than_those_captured_are_refused(args, kwargs, message):
    captured = capture_with_values(Windows().eval(), torch.zeros(2, 1, 16, 16), {"scale": 2.0})
    with pytest.raises(GuardError, match=message):
        guards_of(captured).check(args, kwargs)


def test_a_decision_on_the_dtype_is_a_guard():
    class Cast(nn.Module):
        def forward(self, x):
            return x.float() if x.dtype == torch.float16 else x

    guards = guards_of(capture_with_values(Cast(), torch.zeros(2)))
    guards.check((torch.zeros(3),), {})
    with pytest.raises(GuardError, match=r"x\.dtype == torch\.float32"):
        guards.check((torch.zeros(3, dtype=torch.float16),), {})


class Asserts(nn.Module):
    """Asserts something of a size that nothing else needs, then of data."""

    def forward(self, x):
        torch._assert(x.shape[1] == 8, f"expected 8, got {x.shape[1]}")
        torch._assert(x.sum() < 1e9, "too much")
        return x + 1


@pytest.mark.parametrize("sizes", [(2, 8), (3, 9)])
def test_an_assertion_on_a_size_is_a_guard(sizes):
    extractor = create_feature_extractor(Asserts(), ["add"], example_inputs=torch.zeros(sizes))
    assert [guard.text for guard in extractor.guards.guards] == ["x.shape[1] == 8"]
    assert extractor(torch.zeros(5, 8))["add"].shape == (5, 8)
    with pytest.raises(GuardError, match=r"traced with x\.shape\[1\] == 8 .*torch\._assert.*got False"):
        extractor(torch.zeros(3, 9))


def test_sizes_on_which_the_model_itself_fails_are_refused():
    class Regrouped(nn.Module):
        def forward(self, x):
            y = x.reshape(x.shape[0], 4, -1)
            return y if y.shape[2] > 1 else x

    guards = guards_of(capture_with_values(Regrouped(), torch.zeros(2, 8)))
    with pytest.raises(GuardError, match="does not fit"):
        guards.check((torch.zeros(2, 9),), {})


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.head = nn.Linear(6, 2)

    def forward(self, tokens):
        return self.head(self.table(tokens).flatten(1))


def test_sizes_that_an_operation_does_not_take_are_refused_with_its_name():
    extractor = create_feature_extractor(Embeds(), ["head"], example_inputs=torch.zeros(2, 2, dtype=torch.int64))
    assert extractor(torch.ones(5, 2, dtype=torch.int64))["head"].shape == (5, 2)
    for _ in range(2):
        with pytest.raises(GuardError, match=r"tokens of shape \(2, 3\).*does not fit the model: at 'head' ") as caught:
            extractor(torch.zeros(2, 3, dtype=torch.int64))
        assert isinstance(caught.value.__cause__, RuntimeError)


class Distances(nn.Module):
    """Looks distances up in a table that is made for one size."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 2))

    def forward(self, x):
        places = torch.arange(x.shape[1], device=x.device)
        distances = places[:, None] - places[None, :]
        distances += 3
        return self.table[distances] + x.sum()


def test_sizes_that_are_looked_up_in_a_table_of_weights_are_refused():
    model = Distances()
    extractor = create_feature_extractor(model, ["add_1"], example_inputs=torch.zeros(2, 4))
    x = torch.randn(2, 3)
    assert torch.equal(extractor(x)["add_1"], model(x))
    with pytest.raises(GuardError, match=r"x of shape \(2, 5\).*does not fit the model: at 'getitem\w*' IndexError"):
        extractor(torch.zeros(2, 5))


def test_sizes_do_not_matter_to_what_was_not_asked_for():
    extractor = create_feature_extractor(Embeds(), ["table"], example_inputs=torch.zeros(2, 2, dtype=torch.int64))
    assert extractor(torch.zeros(2, 3, dtype=torch.int64))["table"].shape == (2, 3, 3)


def test_what_fails_for_another_reason_than_sizes_is_raised_as_it_is():
    extractor = create_feature_extractor(Embeds(), ["head"], example_inputs=torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(IndexError):
        extractor(torch.full((3, 2), 9))
    extractor.table.register_forward_hook(lambda *_: {}["mine"])
    with pytest.raises(KeyError, match="mine"):
        extractor(torch.zeros(2, 2, dtype=torch.int64))


def test_a_guarded_extractor_is_compiled_and_exported_as_any_other(extractor):
    x = torch.randn(2, 1, 16, 16)
    expected = extractor(x)["tail"]
    compiled = torch.compile(extractor, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x)["tail"], expected)
    assert torch.equal(torch.export.export(extractor, (x,)).module()(x)["tail"], expected)
