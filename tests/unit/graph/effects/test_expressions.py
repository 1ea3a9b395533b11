"""How expressions are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, fx
from torch.nn.functional import relu

from fxpasses.graph.effects.behaviour import Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B = (_GRAPH.placeholder(name) for name in "ab")


def _read(function: Callable[..., Any], *args: object) -> Behaviour:
    return behaviour_from_source(function, False, args, {})


def test_what_may_be_lists_are_found_in_their_sum_and_not_in_their_difference() -> None:
    def adds(a: Any, b: Any) -> Any:
        return a + b

    def subtracts(a: Any, b: Any) -> Any:
        return a - b

    assert _read(adds, _A, _B) == Behaviour(returns=frozenset([0, 1]), kind="any")
    assert _read(subtracts, _A, _B) == Behaviour(kind="numeric")


def test_what_may_be_the_sum_of_lists_may_be_written_where_it_is_increased() -> None:
    def adds(a: Any, b: Any) -> None:
        held = a + b
        held += b

    assert _read(adds, _A, _B).writes == {0, 1}


@pytest.mark.parametrize("flag", [True, False])
def test_a_negated_flag_decides(flag: bool) -> None:
    def writes_unless(a: Tensor, flag: bool) -> Tensor:
        return a.add_(1) if not flag else a.clone()

    assert bool(_read(writes_unless, _A, flag).writes) == (not flag)


def test_a_sum_with_what_holds_nothing_is_no_list() -> None:
    def adds(a: Any, b: Any) -> Any:
        return a + b

    kinds: dict[fx.Node, Kind] = {_A: "numeric", _B: "any"}
    assert behaviour_from_source(adds, False, (_A, _B), {}, kinds.__getitem__) == Behaviour(kind="numeric")


def test_a_number_with_a_plus_keeps_its_sign() -> None:
    def writes_above_zero(a: Tensor, number: int) -> Tensor:
        return a.add_(1) if +number > 0 else a.clone()

    assert _read(writes_above_zero, _A, 1).writes == {0}


@pytest.mark.parametrize("number", [1, -1])
def test_a_number_with_another_sign_decides(number: int) -> None:
    def writes_below_zero(a: Tensor, number: int) -> Tensor:
        return a.add_(1) if -number > 0 else a.clone()

    assert bool(_read(writes_below_zero, _A, number).writes) == (number < 0)


def _in_a_dict(a: Tensor, b: Tensor) -> Any:
    return {"first": a, "second": 3}["first"]


def _in_a_dict_beside_another(a: Tensor, b: Tensor) -> Any:
    named = {"first": a}
    return {**named, "second": 3}["first"]


def _as_a_key(a: Tensor, b: Tensor) -> Any:
    return {a.add_(1): 3}


def _as_keys_and_values(a: Tensor, b: Tensor) -> Any:
    return {key.view(-1): value.add_(1) for key, value in ((a, b),)}


def _where_it_is_not_known_what_is_negated(a: Tensor, b: Tensor) -> Tensor:
    return a.clone() if not b.sum() > 0 else a.add_(1)


def _where_one_of_two_conditions_is_known(a: Tensor, b: Tensor, both: bool = True) -> Tensor:
    return a.clone() if both and b.sum() > 0 else a.add_(1)


def _in_a_sum_of_lists_that_is_made_longer(a: Tensor, b: Tensor) -> Any:
    first = [a]
    second = [b]
    held = first + second
    held += [b]
    return held


def _in_a_list_that_is_made_longer(a: Tensor, b: Tensor) -> Any:
    held = [a]
    held += [b]
    return held


def _in_a_tuple_that_is_made_longer(a: Tensor, b: Tensor) -> Any:
    held = (a, 3)
    held += (b,)
    return held


def _as_the_end_of_a_slice(a: Tensor, b: Tensor) -> Any:
    return a[: int(b.add_(1).sum())]


def _beside_what_is_unpacked(a: Tensor, b: Tensor) -> Any:
    return [*b.chunk(2), 3]


def _named_on_the_way(a: Tensor, b: Tensor) -> Tensor:
    if (named := a.view(-1)).sum() > 0:
        named.add_(1)
    return named


def _where_a_comprehension_uses_the_name(a: Tensor, b: Tensor) -> Tensor:
    each = a
    _ = [each + 1 for each in (b, 3)]
    return each.add_(1)


def _in_a_text(a: Tensor, b: Tensor) -> str:
    return f"{a.add_(1)}"


def _in_the_format_of_a_text(a: Tensor, b: Tensor) -> str:
    return f"{3:{int(a.add_(1).sum())}}"


def _in_the_condition_of_a_comprehension(a: Tensor, b: Tensor) -> Any:
    return [each for each in (b, 3) if a.add_(1).sum() > 0]


def _in_one_of_two_dicts_that_are_spread(a: Tensor, b: Tensor) -> Any:
    first = {"first": a}
    second = {"second": b}
    return dict(**first, **second)


def _in_a_list_of_as_many_as_a_number_says(a: Tensor, b: Tensor) -> Any:
    held = [a] * (b.numel() - b)
    held[0].add_(1)
    return held


def _in_a_dict_made_of_two(a: Tensor, b: Tensor) -> Any:
    both = {"first": a} | {"second": b}
    both["first"].add_(1)
    return both["second"]


def _in_what_is_left_of_a_set(a: Tensor, b: Tensor) -> Any:
    return {a, 3} - {3}


def _with_a_plus(a: Tensor, b: Tensor) -> Tensor:
    return (+a).add_(1)


def _with_a_minus(a: Tensor, b: Tensor) -> Tensor:
    return (-a).add_(1)


@pytest.mark.parametrize(
    ("function", "writes", "returns"),
    [
        (_in_a_dict, set(), {0}),
        (_in_a_dict_beside_another, set(), {0}),
        (_as_a_key, {0}, {0}),
        (_as_keys_and_values, {0, 1}, {0, 1}),
        (_where_it_is_not_known_what_is_negated, {0}, {0}),
        (_where_one_of_two_conditions_is_known, {0}, {0}),
        (_in_a_sum_of_lists_that_is_made_longer, set(), {0, 1}),
        (_in_a_list_that_is_made_longer, set(), {0, 1}),
        (_in_a_tuple_that_is_made_longer, set(), {0, 1}),
        (_as_the_end_of_a_slice, {1}, {0}),
        (_beside_what_is_unpacked, set(), {1}),
        (_named_on_the_way, {0}, {0}),
        (_where_a_comprehension_uses_the_name, {0}, {0}),
        (_in_a_text, {0}, set()),
        (_in_the_format_of_a_text, {0}, set()),
        (_in_the_condition_of_a_comprehension, {0}, {1}),
        (_in_one_of_two_dicts_that_are_spread, set(), {0, 1}),
        (_in_a_list_of_as_many_as_a_number_says, {0}, {0}),
        (_in_a_dict_made_of_two, {0, 1}, {0, 1}),
        (_in_what_is_left_of_a_set, set(), {0}),
        (_with_a_plus, {0}, {0}),
        (_with_a_minus, set(), set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_comes_of_an_expression(function: Callable[..., Any], writes: set[int], returns: set[int]) -> None:
    behaviour = behaviour_from_source(function, False, (_A, _B), {}, lambda _node: "tensor")
    assert (behaviour.writes, behaviour.returns) == (writes, returns)


def test_a_name_that_is_given_inside_a_comprehension_counts_outside() -> None:
    def keeps_the_last(a: Tensor, b: Tensor) -> None:
        last = a.clone()
        _ = [last := each for each in (a, b)]
        last.add_(1)

    assert _read(keeps_the_last, _A, _B).writes >= {0, 1}


@pytest.mark.parametrize("inplace", [True, False])
def test_options_that_are_passed_on_as_a_tuple_decide(inplace: bool) -> None:
    def activates(a: Tensor, options: tuple[bool, ...]) -> Tensor:
        return relu(a, *options)

    assert bool(_read(activates, _A, (inplace,)).writes) == inplace


@pytest.mark.parametrize("second", [True, False])
def test_the_last_of_several_conditions_that_hold_decides(second: bool) -> None:
    def writes_if_both(a: Tensor, first: bool, second: bool) -> Tensor:
        return a.add_(1) if first and second else a.clone()

    assert bool(_read(writes_if_both, _A, True, second).writes) == second


def test_a_comparison_may_be_a_tensor_unless_it_is_one_of_numbers() -> None:
    def compares(a: Any, b: Any) -> Any:
        return a == b

    def compares_sizes(a: Tensor, b: Tensor) -> bool:
        return a.numel() == b.numel()

    def compares_with_a_number(a: Any, b: Tensor) -> Any:
        return a == b.numel()

    assert _read(compares, _A, _B) == Behaviour(kind="any")
    assert _read(compares_with_a_number, _A, _B) == Behaviour(kind="any")
    assert _read(compares_sizes, _A, _B) == Behaviour(kind="none", reads=True)


def test_what_may_be_two_dicts_is_found_in_what_they_make_together() -> None:
    def unites(a: Any, b: Any) -> Any:
        return a | b

    assert _read(unites, _A, _B) == Behaviour(returns=frozenset([0, 1]), kind="any")
