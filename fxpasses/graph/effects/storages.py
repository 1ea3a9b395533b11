"""Numbers for memory: which storages a value may live in, and which are one and the same.

A storage is a number. Almost always a value lives in a storage of its own, or in that of one operand, so that the
sets are small and shared. Where they would grow, as along a chain of calls that may each return any of their
arguments, the storages in a set are declared to be one: that is less precise, never wrong, and keeps all linear.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

_LARGEST = 16

Storages = frozenset[int]
NOWHERE: Storages = frozenset()


class StorageTable:
    """Hands out storages, joins sets of them, and remembers which have become one."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._of_tensor: dict[object, Storages] = {}
        self._kept: list[object] = []
        self._resolved: dict[Storages, Storages] = {}
        self.unified = False
        """Whether storages that could be told apart were declared to be one."""

    def new(self) -> Storages:
        """Returns a storage that no other value has."""
        self._parents.append(len(self._parents))
        return frozenset([self._parents[-1]])

    def of_tensor(self, tensor: torch.Tensor) -> Storages:
        """Returns the storage of a tensor that exists: the same for all that share memory."""
        return self.of_object(tensor, storage_key(tensor))

    def of_object(self, thing: object, key: object) -> Storages:
        """Returns the storage that stands for `key`; `thing` is kept alive, so that its key stays its own."""
        if key not in self._of_tensor:
            self._of_tensor[key] = self.new()
            self._kept.append(thing)
        return self._of_tensor[key]

    def has(self, key: object) -> bool:
        """Whether there is a storage that stands for `key`."""
        return key in self._of_tensor

    def union(self, sets: Iterable[Storages]) -> Storages:
        """Returns the storages of all `sets`; reuses a set where it is the only one."""
        distinct = {storages for storages in sets if storages}
        if len(distinct) < 2:
            return distinct.pop() if distinct else NOWHERE
        joined = frozenset[int]().union(*distinct)
        return self.unify(joined) if len(joined) > _LARGEST else joined

    def unify(self, storages: Storages) -> Storages:
        """Declares all of some storages to be one, and returns it."""
        roots = {self._root(each) for each in storages}
        first = min(roots, default=-1)
        for root in roots:
            self._parents[root] = first
        self.unified |= len(roots) > 1
        return frozenset([first]) if roots else NOWHERE

    def resolve(self, storages: Storages) -> Storages:
        """Returns the same storages after everything that was declared to be one."""
        if not self.unified:
            return storages
        if storages not in self._resolved:
            self._resolved[storages] = frozenset(self._root(each) for each in storages)
        return self._resolved[storages]

    def _root(self, storage: int) -> int:
        while self._parents[storage] != storage:
            self._parents[storage] = self._parents[self._parents[storage]]
            storage = self._parents[storage]
        return storage


def storage_key(tensor: torch.Tensor) -> object:
    """Returns what two tensors have in common exactly when they share memory; tensors without a storage share none."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return ("no storage", id(tensor))
