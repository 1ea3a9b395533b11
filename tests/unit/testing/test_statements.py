"""What statements mean: each kind can be said, names of one kind meet, containers are as long as they are said to be."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import find, settings

from fxpasses import testing as fxt
from fxpasses.testing import strategies as fxst
from fxpasses.testing.models.interpreter import Spec, interpret
from fxpasses.testing.models.program import Block, Child, Container, TensorMember
from fxpasses.testing.models.scope import POOLS, Scope, Story
from fxpasses.testing.models.statements import CODES, KINDS, kind_of
from fxpasses.testing.models.types import TensorType, Value


def _scope() -> Scope:
    return Scope(Story(operations=(object(),)), Block("Model"), 0)  # pyright: ignore[reportArgumentType] - not read here


def _code(name: str) -> int:
    """The smallest byte that means a kind of statement, by the name of what reads it."""
    return next(code for code in range(256) if kind_of(_scope(), bytes([code])).read.__name__ == name)


def _names(spec: Spec) -> set[str]:
    return {member.name for member in interpret(spec).root.members if isinstance(member, (Child, TensorMember))}


def test_each_kind_has_as_many_bytes_as_its_weight_says() -> None:
    said = Counter(kind_of(_scope(), bytes([code])) for code in range(len(CODES)))
    assert said == {kind: kind.weight for kind in KINDS}


def test_the_smallest_bytes_are_one_kind_each_in_their_order() -> None:
    assert [kind_of(_scope(), bytes([code])) for code in range(len(KINDS))] == KINDS


@pytest.mark.parametrize("pool", range(1, len(POOLS)))
def test_a_model_has_names_of_one_kind(pool: int) -> None:
    source = random.Random(pool)
    statements = [bytes([_code("use_parameter"), 0, 0, 0, 0, source.randrange(256)]) for _ in range(40)]
    names = _names(Spec(statements=statements, pool=pool))
    assert set(POOLS[pool]) <= names
    assert not names & (set(POOLS[0]) - set(POOLS[pool]))


def test_every_fifth_name_is_plain() -> None:
    plain = [byte for byte in range(256) if _scope().new_name(byte, "linear") == "linear"]
    assert plain == list(range(0, 256, 5))


def test_the_smallest_bytes_are_one_name_each() -> None:
    named = [byte for byte in range(256) if byte % 5]
    assert tuple(_scope().new_name(byte, "linear") for byte in named[: len(POOLS[0])]) == POOLS[0]


@pytest.mark.parametrize(
    ("byte", "chosen"), [(0, 4), (111, 4), (112, 2), (223, 2), (224, 0), (225, 1), (228, 4), (229, 0)]
)
def test_an_argument_is_the_latest_or_the_latest_unused_or_counted_from_the_first(byte: int, chosen: int) -> None:
    scope = _scope()
    scope.values = [Value(f"h{n}", TensorType((2, 3)), frozenset()) for n in range(5)]
    scope.used = {"h3", "h4"}
    assert scope.find(byte, lambda value: True) is scope.values[chosen]


def test_an_argument_is_counted_from_the_first_where_each_value_is_used() -> None:
    scope = _scope()
    scope.values = [Value(f"h{n}", TensorType((2, 3)), frozenset()) for n in range(5)]
    scope.used = {value.name for value in scope.values}
    assert [scope.find(byte, lambda value: True).name for byte in (112, 113, 117)] == ["h0", "h1", "h0"]  # pyright: ignore[reportOptionalMemberAccess] - one suits


@pytest.mark.parametrize(("byte", "length"), [(0, 1), (1, 2), (2, 3), (3, 4), (5, 4)])
def test_a_container_takes_as_many_children_as_the_opening_says(byte: int, length: int) -> None:
    opening = bytes([_code("open_sequential"), byte, 0, 0, 0, 0])
    (child,) = interpret(Spec(statements=[opening, *[bytes(6)] * length])).root.members
    assert isinstance(child, Child)
    assert isinstance(child.constructor, Container)
    assert len(child.constructor.children) == length


@pytest.mark.parametrize(("byte", "calls"), [(0, 2), (1, 3), (2, 4), (3, 5)])
def test_a_leaf_is_called_once_more_or_several_times(byte: int, calls: int) -> None:
    program = interpret(Spec(statements=[bytes([_code("call_leaf_again"), 0, 0, 0, 0, byte])]))
    (child,) = program.root.members
    assert isinstance(child, Child)
    assert str(program.root.steps).count(f"target='{child.name}'") == calls


def test_a_module_that_is_called_often_shrinks_to_little_else() -> None:
    """Shrinking ends where no single step is smaller, by bad luck early: the middle one of three counts."""
    patient = settings(database=None, max_examples=3000)

    def called_often(case: fxt.Case) -> bool:
        return case.source.count("getattr(self, '1')(") > 2

    found = [find(fxst.cases(), called_often, settings=patient, random=random.Random(seed)) for seed in range(3)]
    assert sorted(case.source.count("\n        h") for case in found)[1] <= 6
