"""Sets of storages stay small."""

from __future__ import annotations

import torch

from fxpasses.graph.effects.storages import NOWHERE, StorageTable, storage_key


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
    assert table.union([NOWHERE, one]) is one
    assert not table.unified


def test_nowhere_stays_nowhere() -> None:
    assert StorageTable().unify(NOWHERE) == NOWHERE
    assert StorageTable().union([]) == NOWHERE


def test_one_storage_alone_is_not_made_one_with_another() -> None:
    table = StorageTable()
    storage = table.new()
    assert table.unify(storage) == storage
    assert not table.unified


def test_a_tensor_that_nobody_else_keeps_has_its_storage_for_itself() -> None:
    table = StorageTable()
    assert len({table.of_tensor(torch.zeros(2)) for _ in range(100)}) == 100


def test_a_table_has_a_storage_for_what_was_asked_for() -> None:
    table, tensor = StorageTable(), torch.zeros(2)
    key = storage_key(tensor)
    assert not table.has(key)
    table.of_tensor(tensor[:1])
    assert table.has(key)


def test_tensors_without_a_storage_share_no_memory() -> None:
    table = StorageTable()
    one, other = torch.eye(2).to_sparse(), torch.eye(2).to_sparse()
    assert table.of_tensor(one) == table.of_tensor(one)
    assert table.of_tensor(one) != table.of_tensor(other)


def test_two_storages_that_are_made_one_are_one_from_then_on() -> None:
    table = StorageTable()
    one, other = table.new(), table.new()
    both = table.unify(one | other)
    assert table.unified
    assert table.resolve(one) == table.resolve(other) == table.resolve(both)
