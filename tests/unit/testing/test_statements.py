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
from fxpasses.testing.models.statements import KINDS, kind_of


def _scope() -> Scope:
    return Scope(Story(operations=(object(),)), Block("Model"), 0)  # pyright: ignore[reportArgumentType] - not read here


def _code(name: str) -> int:
    """The smallest byte that means a kind of statement, by the name of what reads it."""
    return next(code for code in range(256) if kind_of(_scope(), bytes([code])).read.__name__ == name)


def _names(spec: Spec) -> set[str]:
    return {member.name for member in interpret(spec).root.members if isinstance(member, (Child, TensorMember))}


def test_each_kind_has_as_many_bytes_as_its_weight_says() -> None:
    said = Counter(kind_of(_scope(), bytes([code])) for code in range(256))
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
