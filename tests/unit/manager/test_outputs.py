from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import pytest
import torch
from torch import fx

from fxpasses.graph.observe import observe
from fxpasses.manager.contract import OutputsClaim
from fxpasses.manager.outputs import OutputComparison

Function = Callable[[torch.Tensor], object]
X = torch.tensor([-3.0, -1.0, 0.5, 2.0])


def difference(
    before: Function, after: Function, claim: OutputsClaim, *, atol: float = 0.0, renamed: str | None = None
) -> str | None:
    traced = [fx.symbolic_trace(function) for function in (before, after)]
    for node in traced[1].graph.nodes:
        if node.name == renamed:
            node.name = "renamed"
    return OutputComparison(*(observe(each, [X]) for each in traced), atol=atol).difference(claim)


def relu_and_chunks(x: torch.Tensor) -> Sequence[object]:
    return [x.chunk(2), x.relu()]


def tanh_and_chunks(x: torch.Tensor) -> Sequence[object]:
    return [x.chunk(2), x.tanh()]


def chunks_of_the_negative(x: torch.Tensor) -> object:
    return x.neg().chunk(2)


def written(x: torch.Tensor) -> object:
    y = x.abs()
    y.mul_(2)
    return [y, 3, x.neg()]


def written_in_a_dict(x: torch.Tensor) -> object:
    return dict(zip("abc", cast("list[object]", written(x)), strict=True))


def written_nested(x: torch.Tensor) -> object:
    return [written(x)]


def appended(x: torch.Tensor) -> object:
    y = x.tolist()
    y.append(7)
    return y


def other_appended(x: torch.Tensor) -> object:
    y = x.tolist()
    y.append(8)
    return y


def not_written(x: torch.Tensor) -> object:
    return [x.abs(), 3, x.neg()]


def tripled(x: torch.Tensor) -> object:
    y = x.abs()
    y.mul_(3)
    return [y, 3, x.neg()]


def added_instead(x: torch.Tensor) -> object:
    y = x.abs()
    y.add_(1)
    return [y, 3, x.neg()]


def other_constant(x: torch.Tensor) -> object:
    return [x.abs(), 4, x.neg()]


def written_in_two_parts(x: torch.Tensor) -> object:
    y = x.abs()
    first, second = y.chunk(2)
    first.mul_(2)
    second.add_(1)
    return y


def written_in_one_part(x: torch.Tensor) -> object:
    y = x.abs()
    first, _ = y.chunk(2)
    first.mul_(2)
    return y


def one_output_less(x: torch.Tensor) -> object:
    return [x.abs(), 3]


@pytest.mark.parametrize(
    ("before", "after", "claim"),
    [
        (relu_and_chunks, relu_and_chunks, "equal"),
        (relu_and_chunks, lambda x: {"a": x.chunk(2), "b": x.relu()}, "renamed"),
        (relu_and_chunks, relu_and_chunks, "subset"),
        (relu_and_chunks, lambda x: x.relu(), "subset"),
        (relu_and_chunks, lambda x: x.chunk(2), "subset"),
        (relu_and_chunks, relu_and_chunks, "at_birth"),
        (written, written, "at_birth"),
        (written, not_written, "at_birth"),
        (written, not_written, "subset"),
        (written, lambda x: 3, "subset"),
        (written_in_two_parts, written_in_one_part, "subset"),
    ],
)
def test_what_a_claim_allows_is_no_difference(before: Function, after: Function, claim: OutputsClaim) -> None:
    assert difference(before, after, claim) is None


@pytest.mark.parametrize(
    ("before", "after", "claim"),
    [
        (relu_and_chunks, tanh_and_chunks, "equal"),
        (relu_and_chunks, tanh_and_chunks, "renamed"),
        (relu_and_chunks, tanh_and_chunks, "subset"),
        (relu_and_chunks, tanh_and_chunks, "at_birth"),
        (relu_and_chunks, chunks_of_the_negative, "subset"),
        (relu_and_chunks, chunks_of_the_negative, "at_birth"),
        (written, not_written, "equal"),
        (written, not_written, "renamed"),
        (written, added_instead, "at_birth"),
        (written, added_instead, "subset"),
        (written, tripled, "at_birth"),
        (written, tripled, "subset"),
        (written_in_one_part, written_in_two_parts, "subset"),
        (lambda x: [x.abs(), x.add(1)], lambda x: x.add(2), "subset"),
        (written, other_constant, "at_birth"),
        (written, one_output_less, "at_birth"),
        (one_output_less, written, "at_birth"),
        (written, written_in_a_dict, "at_birth"),
        (written, written_nested, "at_birth"),
        (appended, other_appended, "at_birth"),
    ],
)
def test_what_a_claim_does_not_allow_is_a_difference(before: Function, after: Function, claim: OutputsClaim) -> None:
    assert difference(before, after, claim)


@pytest.mark.parametrize("renamed", ["relu", "chunk"])
def test_under_a_new_name_every_value_of_the_graph_before_is_known(renamed: str) -> None:
    assert difference(relu_and_chunks, relu_and_chunks, "subset", renamed=renamed) is None
    assert difference(relu_and_chunks, chunks_of_the_negative, "subset", renamed="chunk") is not None


def test_what_is_told_is_the_output_that_is_unknown_and_what_it_is() -> None:
    told = "'relu', which is float32[4], is no value that the graph had before"
    assert difference(relu_and_chunks, lambda x: [x.chunk(2), x.neg().relu()], "subset") == told
    told = "'item', which is 2.0, is no value that the graph had before"
    assert difference(lambda x: x.sum().item(), lambda x: x.max().item(), "subset") == told


@pytest.mark.parametrize("claim", ["equal", "renamed", "subset", "at_birth"])
def test_elements_may_be_as_far_apart_as_the_tolerance_says(claim: OutputsClaim) -> None:
    def plain(x: torch.Tensor) -> object:
        return x.relu().add(0)

    def shifted(x: torch.Tensor) -> object:
        return x.relu().add(0.25)

    assert difference(plain, shifted, claim)
    assert difference(plain, shifted, claim, atol=0.25) is None
