"""How statements are read: where several ways meet, any of them may have been taken."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from fxpasses.graph.effects.behaviour import STATE
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_ARGUMENTS = tuple(_GRAPH.placeholder(name) for name in "abc")
_KEPT: dict[str, Tensor] = {}


def _written_by_what_was_assigned_in_a_branch(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    if c.sum() > 0:
        current = a
    current.add_(1)


def _written_in_the_other_branch(a: Tensor, b: Tensor, c: Tensor) -> None:
    if c.sum() > 0:
        a.add_(1)
    else:
        b.add_(1)


def _written_after_a_break(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    for _ in range(3):
        current = b.clone()
        if c.sum() > 0:
            current = a
            break
        current = b
    current.add_(1)


def _written_where_no_break_was_met(a: Tensor, b: Tensor, c: Tensor) -> None:
    for _ in range(c.shape[0]):
        if c.sum() > 0:
            break
    else:
        a.add_(1)


def _written_after_the_break_of_an_outer_loop(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    while c.sum() > 0:
        for _ in range(3):
            c.abs()
        if c.sum() > 1:
            current = a
            break
    current.add_(1)


def _written_after_the_break_of_a_loop_around_another(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    for _ in range(3):
        while c.sum() > 0:
            c.abs()
        if c.sum() > 1:
            current = a
            break
    current.add_(1)


def _written_where_a_condition_no_longer_holds(a: Tensor, b: Tensor, c: Tensor) -> None:
    while c.sum() > 0:
        c.abs()
    else:
        a.add_(1)


def _written_by_what_a_condition_assigned_last(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    while (current := a).sum() > 0:
        current = b
    current.add_(1)


def _written_by_what_a_condition_assigns(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    while (current := a).sum() > 0:
        current.add_(1)
        current = c.clone()


def _written_in_the_round_after_a_continue(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    for _ in range(c.shape[0]):
        current.add_(1)
        if c.sum() > 0:
            current = a
            continue
        current = b


def _written_after_the_continue_of_a_known_round(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    for _ in range(3):
        if c.sum() > 0:
            current = a
            continue
        current = b
    current.add_(1)


def _written_after_the_continue_of_an_earlier_round(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = c
    for first in (True, False):
        current = b
        if first and c.sum() > 0:
            current = a
            continue
        c.abs()
    current.add_(1)


def _written_some_rounds_after_it_was_assigned(a: Tensor, b: Tensor, c: Tensor) -> None:
    first = second = third = b
    for _ in range(c.shape[0]):
        third = second
        second = first
        first = a
    third.add_(1)


def _written_by_a_call_in_the_round_after_it_was_kept(a: Tensor, b: Tensor, c: Tensor) -> None:
    while c.sum() > 0:
        gc.collect()
        _KEPT["kept"] = a


def _written_where_only_the_other_branch_assigned_it(a: Tensor, b: Tensor, c: Tensor) -> None:
    if c.sum() > 0:
        c.abs()
    else:
        current = a
    current.add_(1)


def _written_where_nothing_broke_off_or_raised(a: Tensor, b: Tensor, c: Tensor) -> None:
    for _ in range(c.shape[0]):
        current = b
        if c.sum() > 0:
            current = a
            break
        if c.sum() > 1:
            current = a
            continue
        if c.sum() > 2:
            current = a
            raise ValueError
        current.add_(1)


def _written_after_all_ways_returned(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    try:
        return b.add_(1)
    except RuntimeError:
        return c.clone()
    return a.add_(1)


def _written_after_all_ways_returned_at_last(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    try:
        return b.add_(1)
    except RuntimeError:
        return c.clone()
    finally:
        c.abs()
    return a.add_(1)


def _written_after_all_ways_assigned_the_same(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = a
    try:
        current = b
    except RuntimeError:
        current = b
    current.add_(1)


def _written_inside_a_context(a: Tensor, b: Tensor, c: Tensor) -> None:
    with torch.no_grad():
        a.add_(1)


def _written_where_nothing_was_raised(a: Tensor, b: Tensor, c: Tensor) -> None:
    try:
        c.abs()
    except RuntimeError:
        pass
    else:
        a.add_(1)


def _written_after_a_handler(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        c.abs()
    except RuntimeError:
        current = a
    current.add_(1)


def _written_where_an_error_is_looked_at(a: Tensor, b: Tensor, c: Tensor) -> None:
    try:
        c.abs()
    except RuntimeError as error:
        if error.args:
            a.add_(1)


def _written_at_last_after_a_return(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        if c.sum() > 0:
            current = a
            return
    finally:
        current.add_(1)


def _written_at_last_after_a_handler_returned(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        c.abs()
    except RuntimeError:
        current = a
        return
    finally:
        current.add_(1)


def _written_at_last_where_nothing_was_raised(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        c.abs()
    except RuntimeError:
        pass
    else:
        current = a
    finally:
        current = current.view(-1)
    current.add_(1)


def _written_by_the_index_of_what_is_deleted(a: Tensor, b: Tensor, c: Tensor) -> None:
    held = [b, c]
    del held[int(a.add_(1).sum())]


def _written_by_an_assertion(a: Tensor, b: Tensor, c: Tensor) -> None:
    assert a.add_(1).sum() > 0


def _written_by_an_index(a: Tensor, b: Tensor, c: Tensor) -> None:
    counts = [0]
    counts[int(a.add_(1).sum())] = 1


def _written_by_what_is_imported(a: Tensor, b: Tensor, c: Tensor) -> None:
    import torch.nn.functional as imported
    from torch import relu_ as imported_function

    imported.relu(a, inplace=True)
    imported_function(b)


def _written_by_a_function_inside(a: Tensor, b: Tensor, c: Tensor) -> None:
    c = c.shape[0]  # type: ignore[assignment]

    def write() -> None:
        a.add_(1)
        b.add_(1)

    write()


def _written_in_a_list_that_was_filled_at_once(a: Tensor, b: Tensor, c: Tensor) -> None:
    held = [b]
    held[:] = [a]
    held[0].add_(1)


def _written_in_a_list_of_rows(a: Tensor, b: Tensor, c: Tensor) -> None:
    rows: list[Tensor] = []
    rows += a
    rows[0].add_(1)


def _written_after_a_loop_broke_down(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        for _ in range(3):
            current = a
            c.abs()
            current = b
    except RuntimeError:
        current.add_(1)


def _written_after_an_inner_handler_broke_down(a: Tensor, b: Tensor, c: Tensor) -> None:
    current = b
    try:
        try:
            c.abs()
        except RuntimeError:
            current = a
            c.abs()
            current = b
    except RuntimeError:
        current.add_(1)


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_written_by_what_was_assigned_in_a_branch, {0, 1}),
        (_written_in_the_other_branch, {0, 1}),
        (_written_after_a_break, {0, 1}),
        (_written_where_no_break_was_met, {0}),
        (_written_after_the_break_of_an_outer_loop, {0, 1}),
        (_written_after_the_break_of_a_loop_around_another, {0, 1}),
        (_written_where_a_condition_no_longer_holds, {0}),
        (_written_by_what_a_condition_assigned_last, {0}),
        (_written_in_the_round_after_a_continue, {0, 1}),
        (_written_after_the_continue_of_a_known_round, {0, 1}),
        (_written_after_the_continue_of_an_earlier_round, {1}),
        (_written_some_rounds_after_it_was_assigned, {0, 1}),
        (_written_by_a_call_in_the_round_after_it_was_kept, {0}),
        (_written_where_only_the_other_branch_assigned_it, {0}),
        (_written_where_nothing_broke_off_or_raised, {1}),
        (_written_after_all_ways_returned, {1}),
        (_written_after_all_ways_returned_at_last, {1}),
        (_written_after_all_ways_assigned_the_same, {1}),
        (_written_inside_a_context, {0}),
        (_written_where_nothing_was_raised, {0}),
        (_written_by_what_a_condition_assigns, {0}),
        (_written_after_a_handler, {0, 1}),
        (_written_where_an_error_is_looked_at, {0}),
        (_written_at_last_after_a_return, {0, 1}),
        (_written_at_last_after_a_handler_returned, {0, 1}),
        (_written_at_last_where_nothing_was_raised, {0, 1}),
        (_written_by_the_index_of_what_is_deleted, {0}),
        (_written_by_an_assertion, {0}),
        (_written_by_an_index, {0}),
        (_written_by_what_is_imported, {0, 1}),
        (_written_by_a_function_inside, {0, 1}),
        (_written_in_a_list_that_was_filled_at_once, {0, 1}),
        (_written_in_a_list_of_rows, {0}),
        (_written_after_a_loop_broke_down, {0, 1}),
        (_written_after_an_inner_handler_broke_down, {0, 1}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_may_be_written(function: Callable[..., Any], writes: set[int]) -> None:
    behaviour = behaviour_from_source(function, False, _ARGUMENTS, {}, lambda _node: "tensor")
    assert behaviour.writes - {STATE} == writes
