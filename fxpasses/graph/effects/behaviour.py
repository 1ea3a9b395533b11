"""`Behaviour`: what one call may do to the memory of its arguments, said without running it.

The rules (`functions`, `methods`, `modules`) each look at one call and answer with
a `Behaviour`, or with None where they do not know the callee. What a rule does not know of an argument (a
node, a value inside a function that is being read) it takes to be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from torch import fx

Key = int | str
"""An argument of a call: its position, or its keyword."""

STATE: Final = "<state>"
"""Stands for what a callee owns: a module's parameters, buffers and other attributes, a function's globals."""

Kind = Literal["tensor", "numeric", "tensors", "none", "any"]
"""What a value is: a tensor; a tensor or a number; a sequence of tensors; something without tensors; any of these."""

NO_CONTAINER: Final = ("tensor", "numeric", "none")
"""The kinds of values that cannot hold others."""

ResultKind = Kind | Literal["first", "item"]
"""What a result is; `first`: of the kind of the first argument; `item`: of the kind of an item of it."""


class Unknown:
    """An argument that a rule cannot see."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Behaviour:
    """What a call may do. Everything here is "may": absent means "never".

    Attributes:
        writes: Arguments into whose memory the call may write.
        returns: Arguments with which the result may share memory.
        kind: What the result is.
        concatenates: The result shares memory with its arguments only if they are containers, as in `list + list`.
        links: The call may store one argument inside another, or inside what it owns.
        rebuilds: What it writes is which items a container has, not the items.
        reads: Whether it reads its arguments' elements; False where shape, type or device are all it looks at.
        reshapes: What it writes is shape and strides.
        random: It draws from a random number generator.
        checks: It raises when something does not hold, and does nothing else.
        ambient: It changes how later operations run (grad mode, autocast), or was declared to have a side effect.
    """

    writes: frozenset[Key] = frozenset()
    returns: frozenset[Key] = frozenset()
    kind: ResultKind = "any"
    concatenates: bool = False
    links: bool = False
    rebuilds: bool = False
    reads: bool = True
    reshapes: bool = False
    random: bool = False
    checks: bool = False
    ambient: bool = False

    def also(self, *, writes: frozenset[Key] = frozenset(), returns: frozenset[Key] = frozenset()) -> Behaviour:
        """Returns the behaviour with further arguments written or returned."""
        if writes <= self.writes and returns <= self.returns:
            return self
        return replace(self, writes=self.writes | writes, returns=self.returns | returns)


FRESH: Final = Behaviour(kind="any")
FRESH_NUMERIC: Final = Behaviour(kind="numeric")
FRESH_TENSOR: Final = Behaviour(kind="tensor")
NO_TENSOR: Final = Behaviour(kind="none")
SHAPE_ONLY: Final = Behaviour(kind="none", reads=False)
CHECK: Final = Behaviour(kind="none", checks=True)


def all_keys(args: Sequence[object], kwargs: Mapping[str, object]) -> frozenset[Key]:
    """Returns the key of each argument of a call."""
    return frozenset[Key]([*range(len(args)), *kwargs])


def opaque(args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour:
    """The policy for a callee of which nothing is known: it may write, return and store every argument."""
    keys = all_keys(args, kwargs) | {STATE}
    return Behaviour(writes=keys, returns=keys, links=True, random=True)


def views(args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour:
    """The behaviour of a call whose result may share memory with every argument, and that writes nothing."""
    return Behaviour(returns=all_keys(args, kwargs))


def is_known(value: object) -> bool:
    """Whether `value` is itself, not a stand-in for something that exists only when the graph runs."""
    return not isinstance(value, fx.Node | Unknown)


def argument(args: Sequence[object], kwargs: Mapping[str, object], position: int, name: str, default: object) -> object:
    """Returns the argument that was passed at `position` or as `name`; `UNKNOWN` if it cannot be seen."""
    value = args[position] if position < len(args) else kwargs.get(name, default)
    return value if is_known(value) else UNKNOWN


def flag(
    args: Sequence[object], kwargs: Mapping[str, object], position: int, name: str, default: object
) -> bool | None:
    """Returns whether an argument is true, or None if that cannot be seen."""
    value = argument(args, kwargs, position, name, default)
    return None if isinstance(value, Unknown) else bool(value)


def key_at(args: Sequence[object], kwargs: Mapping[str, object], position: int, name: str) -> frozenset[Key]:
    """Returns the key under which a parameter was passed; every keyword if the first one goes by another name."""
    if position < len(args):
        return frozenset([position])
    if name in kwargs:
        return frozenset([name])
    return frozenset(kwargs) if position == 0 else frozenset()


def with_out(behaviour: Behaviour, kwargs: Mapping[str, object]) -> Behaviour:
    """Adds what passing `out=` means: it is written, and returned."""
    if kwargs.get("out") is None:
        return behaviour
    return behaviour.also(writes=frozenset(["out"]), returns=frozenset(["out"]))
