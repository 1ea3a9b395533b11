"""The values that occur while a function is being read, and the memory that they may reach.

Memory is divided into regions: one for each argument of the call, one for everything that the callee owns, and
one for each container that its code makes. A region may hold others. All of it only grows, so that the order in
which the code was read does not matter for soundness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Final, Literal, NamedTuple

import torch

from fxpasses.graph.effects.behaviour import NO_CONTAINER, UNKNOWN, Kind, Unknown

Region = int
STATE_REGION: Final = 0

ValueKind = Kind | Literal["container"]
"""What a value is; a container is one that the code being read made itself."""

PLAIN_TYPES: Final = frozenset({bool, int, float, str, type(None)})
"""The types of constants of which nothing matters but what they are equal to."""

_TORCH_TYPES = (torch.dtype, torch.device, torch.memory_format, torch.layout)
_CONSTANT_TYPES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice, type, *_TORCH_TYPES)
_CODE_TYPES = (FunctionType, BuiltinFunctionType, ModuleType, torch._ops.OpOverload, torch._ops.OpOverloadPacket)


class Value(NamedTuple):
    """What an expression may evaluate to: the regions that it may reach, and the object itself where it is known."""

    regions: frozenset[Region] = frozenset()
    kind: ValueKind = "any"
    constant: object = UNKNOWN

    @property
    def is_constant(self) -> bool:
        """Whether the object itself is known."""
        return self[2] is not UNKNOWN


NUMBER: Final = Value(kind="none")


@dataclass(frozen=True, eq=False)
class Bound:
    """A method together with the object that it was looked up on."""

    function: object
    owner: Value


class Unreadable(Exception):  # noqa: N818 - never leaves this package: it turns into the policy for opaque callees
    """Code whose effects cannot be read off its source."""


@dataclass
class Memory:
    """What the regions hold, and what happened to them."""

    holds: dict[Region, set[Region]] = field(default_factory=dict[Region, set[Region]])
    written: set[Region] = field(default_factory=set[Region])
    rebuilt: set[Region] = field(default_factory=set[Region])
    assigned: set[str] = field(default_factory=set[str])
    random: bool = False
    _sites: dict[object, Region] = field(default_factory=dict[object, Region])
    _count: int = STATE_REGION

    def new_region(self) -> Region:
        """Makes a region."""
        self._count += 1
        return self._count

    def region_at(self, site: object) -> Region:
        """Returns the region of what is made at one place of the code; the same one each time round a loop."""
        if site not in self._sites:
            self._sites[site] = self.new_region()
        return self._sites[site]

    def store(self, container: Iterable[Region], regions: frozenset[Region]) -> None:
        """Lets the regions of a container hold further regions."""
        for region in container:
            self.holds.setdefault(region, set()).update(regions - {region})

    def link(self, values: Iterable[Value]) -> None:
        """Lets each of the values be stored in each other and in what the callee owns."""
        regions = frozenset([STATE_REGION]).union(*(value.regions for value in values))
        self.store(regions, regions)

    def write(self, value: Value) -> None:
        """Records a write into the memory that a value may reach."""
        self.written |= value.regions

    def reach(self, regions: Iterable[Region]) -> set[Region]:
        """Returns the regions that can be reached from some."""
        reached: set[Region] = set()
        waiting = list(regions)
        while waiting:
            region = waiting.pop()
            if region not in reached:
                reached.add(region)
                waiting.extend(self.holds.get(region, ()))
        return reached

    @property
    def size(self) -> int:
        """How much is known; it only grows."""
        return len(self.written) + len(self.rebuilt) + sum(len(held) for held in self.holds.values())

    @property
    def state_holds_arguments(self) -> bool:
        """Whether something was stored in what the callee owns, so that any call may find it there."""
        return bool(self.holds.get(STATE_REGION))


def value_of_constant(constant: object) -> Value:
    """Returns the value that stands for an object found in a module, a closure, a default or the globals."""
    if isinstance(constant, torch.Tensor):
        return Value(frozenset([STATE_REGION]), "tensor")
    if isinstance(constant, _CODE_TYPES):
        return Value(kind="none", constant=constant)
    if isinstance(constant, _CONSTANT_TYPES) or is_plain_tuple(constant):
        return Value(kind="none", constant=constant)
    if callable(constant):
        return Value(frozenset([STATE_REGION]), "any", constant)
    return Value(frozenset([STATE_REGION]))


def is_plain_tuple(constant: object) -> bool:
    """Whether an object is a tuple of numbers, strings and the like, at any depth."""
    waiting = [constant]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple):
            waiting.extend(each)
        elif not isinstance(each, _CONSTANT_TYPES):
            return False
    return isinstance(constant, tuple)


def join(values: Iterable[Value]) -> Value:
    """Returns a value that stands for any of some; there must be one at least."""
    first, *others = values
    if all(each is first or _is_same(each, first) for each in others):
        return first
    regions = first.regions.union(*(each.regions for each in others))
    kinds = {each.kind for each in (first, *others)}
    return Value(regions, first.kind if len(kinds) == 1 else "numeric" if kinds == {"tensor", "numeric"} else "any")


def _is_same(one: Value, other: Value) -> bool:
    if one.regions != other.regions or one.kind != other.kind:
        return False
    # By their place: reading a constant that is watched is noted, and is for when the answer depends on it.
    known, expected = one[2], other[2]
    if known is expected or known is UNKNOWN or expected is UNKNOWN:
        return known is expected
    first, second = one.constant, other.constant
    return first is second or (type(first) is type(second) and type(first) in PLAIN_TYPES and first == second)


def item_of(container: Value, constant: object = UNKNOWN) -> Value:
    """Returns what an item of `container` may be; `constant` is the item itself where it is known."""
    if isinstance(constant, tuple) and not is_plain_tuple(constant):
        return Value(container.regions, "any", constant)
    if not isinstance(constant, Unknown):
        return value_of_constant(constant)
    if container.kind == "tensors":
        return Value(container.regions, "tensor")
    return Value(container.regions, container.kind if container.kind in NO_CONTAINER else "any")
