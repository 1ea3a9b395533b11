"""What a deep copy of a module need not look into."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fxpasses.graph.empty_dicts import empty_dicts_copied


class _Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.constant = torch.zeros(2)
        self.filled = {"a": [1]}
        self.empty: dict[str, int] = {}
        self.items: list[int] = []


def test_of_all_attributes_the_empty_dicts_alone_are_given_a_copy() -> None:
    module = _Holds()
    memo = empty_dicts_copied(module)
    assert memo[id(module.empty)] == {}
    assert {type(value) for value in memo.values()} <= {dict, type(module._forward_hooks)}
    assert not {id(module.constant), id(module.filled), id(module.items), id(None)} & memo.keys()


def test_a_deep_copy_that_starts_with_them_shares_nothing() -> None:
    module = _Holds()
    copied = copy.deepcopy(module, empty_dicts_copied(module))
    for name in ("constant", "filled", "empty", "items"):
        assert getattr(copied, name) is not getattr(module, name)
    assert torch.equal(copied.constant, module.constant)
    assert (copied.filled, copied.empty, copied.items) == ({"a": [1]}, {}, [])
