from __future__ import annotations

import pytest
import torch

from fxpasses.graph.bits import cloned, first_difference, kind_of

NAN = float("nan")


@pytest.mark.parametrize(
    "value",
    [1, "text", None, [1, (2, {"a": torch.ones(2)})], torch.tensor([NAN, 1.0]), torch.tensor([True, False]), NAN],
)
def test_a_value_is_the_same_as_itself(value: object) -> None:
    assert first_difference(value, cloned(value)) is None


@pytest.mark.parametrize(
    ("actual", "expected", "words"),
    [
        (torch.zeros(2), torch.zeros(3), "float32[2] instead of float32[3]"),
        (torch.zeros(2), torch.zeros(2).double(), "float32[2] instead of float64[2]"),
        (torch.tensor([0, 1]), torch.tensor([0, 2]), "1 of 2 elements differ, first at [1]: 1 instead of 2"),
        (torch.tensor([True]), torch.tensor([False]), "1 of 1 elements differ, first at [0]: True instead of False"),
        (torch.tensor([NAN]), torch.tensor([0.0]), "1 of 1 elements differ, first at [0]: nan instead of 0.0"),
        (
            torch.tensor([NAN, 1.0]),
            torch.tensor([NAN, 2.0]),
            "1 of 2 elements differ, first at [1]: 1.0 instead of 2.0",
        ),
        ({"a": (1, 2)}, {"a": (1, 3)}, "at ['a'][1]: 2 instead of 3"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "at ['b']: 2 instead of 3"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "keys ['a', 'b'] instead of ['b', 'a']"),
        ((1,), [1], "a tuple of 1 instead of a list of 1"),
        ((1, 2), (1,), "a tuple of 2 instead of a tuple of 1"),
        (1, 1.0, "1 instead of 1.0"),
        (torch.ones(1), 1, "a Tensor instead of a int"),
        (1, torch.ones(1), "a int instead of a Tensor"),
        ([1], 1, "[1] instead of 1"),
        (1, (1,), "1 instead of (1,)"),
        (NAN, 1.0, "nan instead of 1.0"),
        (1.0, NAN, "1.0 instead of nan"),
        ({"a": 1}, 1, "{'a': 1} instead of 1"),
        (1, {"a": 1}, "1 instead of {'a': 1}"),
    ],
)
def test_what_differs_is_said(actual: object, expected: object, words: str) -> None:
    assert first_difference(actual, expected) == words


def test_tolerances_count_only_where_they_are_given() -> None:
    one, other = torch.tensor([1.0]), torch.tensor([1.001])
    assert first_difference(one, other) is not None
    assert first_difference([one], [other], atol=0.01) is None
    assert first_difference([one], [other], rtol=0.01) is None


def test_strides_and_negative_zeros_do_not_matter() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    assert first_difference(matrix.t().contiguous().t(), matrix) is None
    assert first_difference(torch.tensor(-0.0), torch.tensor(0.0)) is None


def test_a_clone_is_not_written_with_the_original_and_keeps_whether_it_has_a_gradient() -> None:
    original = torch.ones(2, requires_grad=True)
    copied = cloned({"x": original})["x"]
    with torch.no_grad():
        original.add_(1)
    assert copied.tolist() == [1.0, 1.0]
    assert copied.requires_grad
    assert kind_of(copied) == "float32[2]"
