"""Sets of storages stay small."""

from __future__ import annotations

from fxpasses.graph.effects.storages import NOWHERE, StorageTable


def test_what_may_live_in_many_storages_makes_them_one() -> None:
    table = StorageTable()
    each = [table.new() for _ in range(100)]
    other = table.new()
    joined = table.union(each)
    assert len(joined) == 1
    assert {table.resolve(storages) for storages in each} == {table.resolve(joined)}
    assert table.resolve(other) == other


def test_a_few_storages_are_told_apart() -> None:
    table = StorageTable()
    one, other = table.new(), table.new()
    assert table.union([one, NOWHERE, other]) == one | other
    assert table.union([one, one]) is one
    assert not table.unified


def test_nowhere_stays_nowhere() -> None:
    assert StorageTable().unify(NOWHERE) == NOWHERE
    assert StorageTable().union([]) == NOWHERE
