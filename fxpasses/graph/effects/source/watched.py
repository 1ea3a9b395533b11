"""Constants that are watched while source is read, so that what was read serves other calls too.

A reader gets to see the constants of a call only as far as it asks for them. What it asked, and what came out, is noted:
`p > 0` was true, `1 - p` was a float, `num_heads` was taken for what it is. With other constants for which all of that
comes out the same, the reading would have gone the same way, so its result holds for them as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fxpasses.graph.effects.source.memory import PLAIN_TYPES, Value, value_of_constant

Constants = Mapping[Hashable, object]
Compute = Callable[[Constants], object]
"""What is computed from the constants of a call; may raise for others than those that it was made for."""

ATTRIBUTE: Final = "attribute"
"""With its name, the key of an attribute of the module that is called."""

_MOST_STEPS = 16
_MOST_FACTS = 64


class Fact(NamedTuple):
    """Something that was computed from the constants of a call, and what came out; an exception's type if it raised."""

    compute: Compute
    outcome: object


class Decisions:
    """All that a reading made of the constants of a call.

    Args:
        constants: The constants by a key of their own; the type of each is taken to be the same in other calls.

    Example:
        >>> decisions = Decisions({"p": 0.5})
        >>> decided(lambda p: p > 0, decisions.value("p"))
        True
        >>> decisions.hold_for({"p": 0.1}), decisions.hold_for({"p": 0.0})
        (True, False)
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self._facts: list[Fact] = []
        self._values: dict[Hashable, Value] = {}

    def value(self, key: Hashable) -> Value:
        """Returns the value that stands for one of the constants; the same each time."""
        if key not in self._values:
            constant = self.constants[key]
            self._values[key] = _watched_value(Watched(constant, lambda constants: constants[key], 1, self))
        return self._values[key]

    def note(self, compute: Compute, outcome: object) -> None:
        """Notes something that was computed from the constants."""
        self._facts.append(Fact(compute, outcome))

    @property
    def are_few(self) -> bool:
        """Whether it is less work to compute them again than to read again."""
        return len(self._facts) <= _MOST_FACTS

    def hold_for(self, constants: Constants) -> bool:
        """Whether everything comes out the same for other constants."""
        return all(_is_same(_outcome(fact.compute, constants), fact.outcome) for fact in self._facts)


class Watched:
    """A constant, and how it is computed from those of the call.

    Attributes:
        constant: What it is in this call; looking at more than its type is for `use` to note.
    """

    __slots__ = ("_compute", "_decisions", "_is_used", "_steps", "constant")

    def __init__(self, constant: object, compute: Compute, steps: int, decisions: Decisions) -> None:
        self.constant = constant
        self._compute = compute
        self._steps = steps
        self._decisions = decisions
        self._is_used = False

    def use(self) -> object:
        """Returns the constant, and notes that it has to be this one."""
        if not self._is_used:
            self._is_used = True
            self._decisions.note(self._compute, self.constant)
        return self.constant

    def decide(self, function: Callable[..., object], operands: tuple[object, ...]) -> object:
        """Applies `function` to operands, this one among them, and notes what comes out."""
        compute, _ = _composed(function, operands)
        try:
            outcome = compute(self._decisions.constants)
        except Exception as error:
            self._decisions.note(compute, type(error))
            raise
        self._decisions.note(compute, outcome)
        return outcome

    def derive(self, function: Callable[..., object], operands: tuple[object, ...]) -> Value:
        """Applies `function` to operands, this one among them, and watches the result in turn."""
        compute, steps = _composed(function, operands)
        outcome = _outcome(compute, self._decisions.constants)
        if steps > _MOST_STEPS or type(outcome) not in PLAIN_TYPES:
            return value_of_constant(self.decide(function, operands))
        self._decisions.note(lambda constants: type(compute(constants)), type(outcome))
        return _watched_value(Watched(outcome, compute, steps, self._decisions))

    @property
    def recipe(self) -> tuple[Compute, int]:
        """How the constant is computed, and in how many steps."""
        return self._compute, self._steps


class WatchedValue(Value):
    """A value whose constant is watched: whoever reads it decides on it."""

    __slots__ = ()

    @property
    def constant(self) -> object:  # pyright: ignore[reportIncompatibleVariableOverride] # a field of the base
        """The constant; that it was read is noted."""
        known = self[2]
        return known.use() if isinstance(known, Watched) else known


class LookedAt(Sequence[object]):
    """The constants of values, each read when it is looked at."""

    def __init__(self, values: Sequence[Value]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [value.constant for value in self._values[index]]
        return self._values[index].constant


class LookedUp(Mapping[str, object]):
    """The same for values that have names."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, name: str) -> object:
        return self._values[name].constant


def peek(value: Value) -> object:
    """Returns a value's constant without noting it: for questions that its type alone answers."""
    known = value[2]
    return known.constant if isinstance(known, Watched) else known


def decided(function: Callable[..., object], *operands: Value) -> object:
    """Returns what `function` makes of constants, and notes it if any of them is watched."""
    known = tuple([operand[2] for operand in operands])
    first = _first_watched(known)
    return function(*known) if first is None else first.decide(function, known)


def derived(function: Callable[..., object], *operands: Value) -> Value:
    """Returns the value of what `function` makes of constants; watched if any of them is.

    Example:
        >>> decisions = Decisions({"p": 0.25})
        >>> rest = derived(lambda p: 1 - p, decisions.value("p"))
        >>> rest.constant, decisions.hold_for({"p": 0.5})
        (0.75, False)
    """
    known = tuple(operand[2] for operand in operands)
    first = _first_watched(known)
    return value_of_constant(function(*known)) if first is None else first.derive(function, known)


def _watched_value(watched: Watched) -> Value:
    plain = value_of_constant(watched.constant)
    return WatchedValue(plain.regions, plain.kind, watched)


def _first_watched(known: tuple[object, ...]) -> Watched | None:
    for each in known:
        if isinstance(each, Watched):
            return each
    return None


def _composed(function: Callable[..., object], operands: tuple[object, ...]) -> tuple[Compute, int]:
    recipes = [each.recipe if isinstance(each, Watched) else (_always(each), 0) for each in operands]
    steps = 1 + sum(count for _, count in recipes)
    return lambda constants: function(*(compute(constants) for compute, _ in recipes)), steps


def _always(constant: object) -> Compute:
    return lambda _constants: constant


def _outcome(compute: Compute, constants: Constants) -> object:
    try:
        return compute(constants)
    except Exception as error:  # of any kind: what matters is that the reader would have met it, too
        return type(error)


def _is_same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and one == other)
