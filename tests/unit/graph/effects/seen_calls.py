"""What one call of a function does to its arguments, as the arguments themselves show it."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fxpasses.graph.effects.behaviour import Behaviour

Args = tuple[Any, ...]


class Seen(NamedTuple):
    """What one call did: which arguments it wrote, and which share memory with its result."""

    args: Args
    kwargs: dict[str, Any]
    result: Any
    writes: set[int | str]
    returns: set[int | str]
    random: bool


def see(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Seen:
    keyed = {**dict(enumerate(args)), **kwargs}
    before = {key: _contents(value) for key, value in keyed.items()}
    memory = {key: memory_of(value) for key, value in keyed.items()}
    generator = torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*args, **kwargs)
    finally:
        random = not torch.equal(generator, torch.get_rng_state())
        if random:
            torch.set_rng_state(generator)
    if isinstance(result, Iterator):
        result = list(result)
    held = memory_of(result)
    writes = {key for key, value in keyed.items() if not _same(before[key], _contents(value))}
    returns = {key for key, value in keyed.items() if held & (memory[key] | memory_of(value))}
    return Seen(args, kwargs, result, writes, returns, random)


def parts_of(value: Any) -> list[Any]:
    if isinstance(value, set | frozenset | collections.deque | type({}.keys()) | type({}.values()) | type({}.items())):
        value = list(value)
    if isinstance(value, slice):
        value = [value.start, value.stop, value.step]
    return pytree.tree_leaves(value)


def memory_of(value: Any) -> set[int]:
    """The addresses of what a value holds; a container has an address of its own."""
    found = {id(value)} if isinstance(value, list | dict | set | collections.deque) else set[int]()
    for part in parts_of(value):
        if isinstance(part, Tensor):
            found.add(part.values().untyped_storage().data_ptr() if part.is_sparse else _address(part))
        elif isinstance(part, np.ndarray):
            found.add(part.__array_interface__["data"][0])
        elif isinstance(part, torch.UntypedStorage | torch.TypedStorage):
            found.add(part.data_ptr())
    return found - {0}


def _address(tensor: Tensor) -> int:
    return 0 if tensor.is_mkldnn or tensor.is_quantized else tensor.untyped_storage().data_ptr()


def _contents(value: Any) -> list[Any]:
    parts = parts_of(value)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    names = list(value) if isinstance(value, dict) else []
    return [
        names,
        list(map(id, parts)),
        *((each._version, each.shape, each.stride(), each.clone()) for each in tensors),
    ]


def _same(before: list[Any], after: list[Any]) -> bool:
    return before[:2] == after[:2] and all(
        old[:3] == new[:3] and torch.allclose(old[3], new[3], 0, 0, equal_nan=True)
        for old, new in zip(before[2:], after[2:], strict=True)
    )


def _is_kind(seen: Seen, kind: str) -> bool:
    parts = parts_of(seen.result)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if kind == "first":
        return isinstance(seen.result, type(seen.args[0]) | Tensor | float)
    return {
        "tensor": isinstance(seen.result, Tensor),
        "numeric": isinstance(seen.result, Tensor) or not tensors,
        "tensors": isinstance(seen.result, list | tuple) and len(tensors) == len(seen.result),
        "none": not tensors,
    }.get(kind, True)


def assert_allowed(seen: Seen, said: Behaviour | None, what: object) -> None:
    assert said is not None, what
    assert seen.writes <= said.writes, f"{what} writes {seen.writes - said.writes} of {seen.args}"
    holds_all = {*range(len(seen.args)), *seen.kwargs} if said.links else said.returns
    may_share = set() if said.concatenates and isinstance(seen.result, Tensor) else holds_all
    assert seen.returns <= may_share, f"{what} returns {seen.returns - may_share} of {seen.args}"
    assert said.random or not seen.random, f"{what} draws random numbers"
    assert _is_kind(seen, said.kind), f"{what} is no {said.kind}: {seen.result}"


def seen_calls(function: Callable[..., Any], forms: Iterable[Args]) -> list[Seen]:
    found: list[Seen] = []
    for args in forms:
        try:
            found.append(see(function, *args))
        except Exception:
            continue
    return found


def assert_reads_no_element(function: Callable[..., Any], seen: Seen) -> None:
    for tensor in (part for part in parts_of(seen.args) if isinstance(part, Tensor)):
        tensor.detach().zero_() if tensor.dtype == torch.bool else tensor.detach().sub_(5)
    assert seen.result == see(function, *seen.args, **seen.kwargs).result
