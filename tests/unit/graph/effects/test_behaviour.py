"""What is said of calls, and of the arguments that they are given."""

from __future__ import annotations

from dataclasses import fields

from torch import fx

from fxpasses.graph.effects.behaviour import UNKNOWN, Behaviour, argument, flag, key_at


def test_what_is_not_said_of_a_call_it_never_does() -> None:
    said = Behaviour()
    assert said.kind == "any"
    assert said.reads
    assert not any(getattr(said, each.name) for each in fields(said) if each.name not in ("kind", "reads"))


def test_of_an_argument_that_the_graph_computes_nothing_is_known() -> None:
    node = fx.Graph().placeholder("x")
    for args, kwargs in (((0, node), {}), ((0,), {"training": node}), ((0, UNKNOWN), {})):
        assert argument(args, kwargs, 1, "training", False) is UNKNOWN
        assert flag(args, kwargs, 1, "training", False) is None


def test_a_flag_is_what_was_passed_or_else_its_default() -> None:
    assert flag((0, 1), {}, 1, "training", False) is True
    assert flag((0,), {"training": 0}, 1, "training", True) is False
    assert flag((0,), {}, 1, "training", True) is True


def test_a_first_argument_may_go_by_any_keyword_and_a_later_one_by_its_own_only() -> None:
    assert key_at(("x",), {"weight": "w"}, 0, "input") == {0}
    assert key_at((), {"self": "x"}, 0, "input") == {"self"}
    assert key_at(("x",), {"weight": "w", "bias": "b"}, 1, "weight") == {"weight"}
    assert key_at(("x",), {"bias": "b"}, 1, "weight") == frozenset()
