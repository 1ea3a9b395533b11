"""The state of a model that is being written: its classes, the values that are live, and who may share memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from fxpasses.testing.models.features import is_off
from fxpasses.testing.models.op_spec import OpSpec, Types
from fxpasses.testing.models.program import (
    Alias,
    Assign,
    Attribute,
    Block,
    Call,
    Child,
    Constructor,
    Input,
    Local,
    Loop,
    Step,
)
from fxpasses.testing.models.types import TensorType, Value, is_reasonable

# Names that a naming scheme confuses: suffixed, joined by an underscore, a number, an operation's, an input's. A model
# has all of them or those of one kind, for a few names that come often meet in more ways than many that come seldom.
_KINDS = (
    ("conv", "conv_1"),
    ("a", "a_b", "b"),
    ("add", "x", "relu", "relu_1"),
    ("layer", "layer_1"),
    ("0", "1"),
    ("ln_1", "ln_2"),
)
POOLS = (tuple(chain(*_KINDS)), *_KINDS)
INPUT_POOL = ("x", "input", "conv", "x_1", "add", "a_b", "layer_1")


class Instance(NamedTuple):
    """Something callable that the block owns and may call again.

    Attributes:
        path: `conv`, or `layers.0` for a child of a container.
        arguments: The types that it was made for.
        results: What it returns for them.
        roots: The storages of the first call's results.
        writes: For each argument, whether the call writes it.
        aliases: Whether a result may share memory with an argument.
        leaf: Whether it is a module of PyTorch, which takes any range of floating point numbers.
        cost: How many nodes a call adds.
        length: The number of children if it is a ModuleList, which is called in a loop.
        residual: Whether that loop adds each child's result to its input.
        constructor: How another one like it is made.
        keys: The keys of its results if it returns a dict.
        after: What may be in the arguments after the call, where it writes them.
        writable: Whether the results may be written.
        locks: For each argument, whether it must not be written after the call.
    """

    path: str
    arguments: tuple[TensorType, ...]
    results: Types
    roots: frozenset[int]
    writes: tuple[bool, ...]
    aliases: bool
    leaf: bool
    cost: int
    length: int | None = None
    residual: bool = False
    constructor: Constructor | None = None
    keys: tuple[str, ...] | None = None
    after: tuple[TensorType, ...] = ()
    writable: bool = True
    locks: tuple[bool, ...] = ()


@dataclass
class Story:
    """What the whole model shares: its classes, its features, the storages that must not be written."""

    disabled: int = 0
    pool: tuple[str, ...] = POOLS[0]
    budget: int = 1 << 30
    max_depth: int = 2
    max_inputs: int = 3
    operations: tuple[OpSpec, ...] = ()
    blocks: list[Block] = field(default_factory=list[Block])
    features: set[str] = field(default_factory=set[str])
    locked: set[int] = field(default_factory=set[int])
    frozen: list[str] = field(default_factory=list[str])
    stack: list[Any] = field(default_factory=list[Any])
    inputs: list[Input] = field(default_factory=list[Input])
    roots: int = 0
    nodes: int = 0
    phase: int = 0

    def new_root(self) -> frozenset[int]:
        """A storage that nothing shares yet."""
        self.roots += 1
        return frozenset([self.roots])

    def allows(self, feature: str | None) -> bool:
        """Whether a feature is on in this model."""
        return not is_off(feature, self.disabled)

    def next_phase(self) -> int:
        """A number that makes the constants of each tensor differ."""
        self.phase += 1
        return self.phase

    def scopes(self) -> Iterator[Scope]:
        """The blocks that are open, the root first."""
        return (scope for scope in self.stack if isinstance(scope, Scope))


@dataclass
class Scope:
    """A block whose forward is being written."""

    story: Story
    block: Block
    depth: int
    opened_by: bytes = b""
    values: list[Value] = field(default_factory=list[Value])
    numbers: list[str] = field(default_factory=list[str])
    used: set[str] = field(default_factory=set[str])
    taken: set[str] = field(default_factory=set[str])
    locals: int = 0
    instances: list[Instance] = field(default_factory=list[Instance])
    written: set[int] = field(default_factory=set[int])
    arguments: tuple[Value, ...] = ()
    made_for: tuple[TensorType, ...] = ()
    nodes_before: int = 0
    locked_before: frozenset[int] = frozenset()

    def new_local(self) -> str:
        """A fresh name for a local variable."""
        self.locals += 1
        return f"h{self.locals}"

    def new_name(self, byte: int, plain: str) -> str:
        """A name for a member: the plain one for each fifth byte, else one of the pool of names that collide."""
        if byte % 5 == 0 or not self.story.allows("colliding_names"):
            name, count = plain, 1
            while name in self.taken:
                count += 1
                name = f"{plain}{count}"
        else:
            self.story.features.add("colliding_names")
            pool = self.story.pool
            start = (byte - byte // 5 - 1) % len(pool)
            choices = chain(pool[start:], pool[:start], (f"{plain}_{count}" for count in range(1, 99)))
            name = next(choice for choice in choices if choice not in self.taken)
        self.taken.add(name)
        return name

    def is_writable(self, value: Value) -> bool:
        """Whether PyTorch allows an in-place write of the value, and the generator wants it."""
        return value.writable and not value.roots & self.story.locked

    def find(self, byte: int, suits: Callable[[Value], bool]) -> Value | None:
        """A live value that suits: the latest for a small byte, then the latest that nothing uses yet, else any.

        Any is counted from the first, so that a statement may go that stands between a value and its use.
        """
        if byte < 112:
            return next((value for value in reversed(self.values) if suits(value)), None)
        suitable = [value for value in self.values if suits(value)]
        if not suitable:
            return None
        fresh = [value for value in suitable if value.name not in self.used] if byte < 224 else []
        return fresh[-1] if fresh else suitable[byte % 112 % len(suitable)]

    def find_unused(self, byte: int, suits: Callable[[Value], bool]) -> Value | None:
        """Like `find`, but for most bytes a value that nothing uses yet is preferred."""
        return self.find(max(byte, 112) if byte < 208 else byte, suits)

    def add_step(self, step: Step) -> None:
        """Append a step to the forward, and remember the variables that it reads."""
        self.block.steps.append(step)
        self.used.update(names_in(step))

    def add_value(self, kind: TensorType, roots: frozenset[int] | None = None, writable: bool = True) -> Value:
        """A new live value; its name is the caller's to assign."""
        value = Value(self.new_local(), kind, roots or self.story.new_root(), writable)
        self.values.append(value)
        return value

    def call(self, call: Call, kind: TensorType, roots: frozenset[int] | None = None, writable: bool = True) -> Value:
        """Write `name = call`, and return the new value."""
        value = self.add_value(kind, roots, writable)
        self.add_step(Assign((value.name,), call))
        self.story.nodes += 1
        return value

    def note_write(self, target: Value, kind: TensorType) -> None:
        """Widen what is known about every value, in any open block, that shares memory with a written one."""
        for scope in self.story.scopes():
            scope.written |= target.roots
            for index, value in enumerate(scope.values):
                if not value.roots.isdisjoint(target.roots):
                    scope.values[index] = _widened(value, kind)

    def add_child(self, constructor: Constructor, byte: int, plain: str) -> str:
        """Give the block a child module; returns its name."""
        name = self.new_name(byte, plain)
        self.block.members.append(Child(name, constructor))
        return name

    def add_alias(self, of: str, byte: int) -> str:
        """Give a child of the block a second name."""
        name = self.new_name(byte, "alias")
        self.block.members.append(Alias(name, of))
        self.story.features.add("alias")
        return name

    def open_results(
        self,
        call: Call,
        types: Types,
        roots: frozenset[int],
        style: int,
        writable: bool = True,
        keys: Sequence[str] | None = None,
    ) -> list[Value]:
        """Assign a call's results to variables: one, or each element of a tuple or a dict."""
        if isinstance(types, TensorType):
            return [self.call(call, types, roots, writable)]
        self.story.nodes += 1
        plain = all(isinstance(kind, TensorType) for kind in types or ())
        if plain and keys is None and style % 2 == 0:
            values = [self.add_value(kind, roots, writable) for kind in types or () if isinstance(kind, TensorType)]
            self.add_step(Assign(tuple(value.name for value in values), call))
            self.story.nodes += len(values)
            return values
        whole = self.new_local()
        self.add_step(Assign((whole,), call))
        named = list(zip(keys or range(len(types or ())), types or (), strict=True))
        return self._take_elements(Local(whole), named, roots, writable)

    def _take_elements(
        self, whole: Any, types: Sequence[tuple[Any, Types]], roots: frozenset[int], writable: bool
    ) -> list[Value]:
        values: list[Value] = []
        for index, kind in types:
            element = Call("operator", "getitem", (whole, index))
            if isinstance(kind, TensorType):
                values.append(self.call(element, kind, roots, writable))
            else:
                values += self._take_elements(element, list(enumerate(kind or ())), roots, writable)
        return values

    def invoke(self, instance: Instance, arguments: Sequence[Value], style: int) -> list[Value]:
        """Call something that the block owns, once more or for the first time."""
        roots = instance.roots | self.story.new_root()
        if instance.aliases:
            roots = roots.union(*(argument.roots for argument in arguments))
        writable = instance.writable and (not instance.aliases or all(argument.writable for argument in arguments))
        for locked, argument in zip(instance.locks, arguments, strict=False):
            self.story.locked |= argument.roots if locked else frozenset()
        for index, (written, argument) in enumerate(zip(instance.writes, arguments, strict=True)):
            if written:
                self.note_write(argument, instance.after[index])
        self.story.nodes += instance.cost - 1
        if instance.length is not None and isinstance(instance.results, TensorType):
            value = self.add_value(instance.results, roots, writable)
            self.add_step(Assign((value.name,), Local(arguments[0].name)))
            self.add_step(Loop(value.name, instance.path, instance.length, instance.residual))
            return [value]
        call = Call("module", instance.path, tuple(Local(argument.name) for argument in arguments))
        results = _with_gradient(instance.results) if any(a.type.gradient for a in arguments) else instance.results
        return self.open_results(call, results, roots, style, writable, instance.keys)

    def accepts_again(self, instance: Instance, arguments: Sequence[Value]) -> bool:
        """Whether values are of the types that an instance was made for, and may be written where it writes."""
        if len({root for argument in arguments for root in argument.roots}) < sum(len(a.roots) for a in arguments):
            return False
        pairs = zip(instance.arguments, arguments, instance.writes, strict=True)
        return all(
            fits(kind, value.type, instance.leaf) and (self.is_writable(value) or not w) for kind, value, w in pairs
        )


def _with_gradient(types: Types) -> Types:
    if isinstance(types, TensorType):
        return types._replace(gradient=types.is_float)
    return tuple(_with_gradient(kind) for kind in types or ())


def _widened(value: Value, kind: TensorType) -> Value:
    low, high = min(value.type.low, kind.low), max(value.type.high, kind.high)
    gradient = value.type.is_float and (value.type.gradient or kind.gradient)
    if (low, high, gradient) == (value.type.low, value.type.high, value.type.gradient):
        return value
    return value._replace(type=value.type._replace(low=low, high=high, gradient=gradient))


def fits(made_for: TensorType, kind: TensorType, leaf: bool) -> bool:
    """Whether what was made for one type can be called with another."""
    if made_for.shape != kind.shape or made_for.dtype is not kind.dtype:
        return False
    if leaf and kind.is_float:
        return True
    return made_for.low <= kind.low and kind.high <= made_for.high and made_for.gradient >= kind.gradient


def names_in(expression: Any) -> Iterator[str]:
    """The local variables that an expression or a step reads."""
    kind = type(expression)
    if kind is Local:
        yield expression.name
    elif kind is Assign:
        yield from names_in(expression.value)
    elif kind is Call:
        for item in (*expression.args, *expression.kwargs.values()):
            yield from names_in(item)
    elif kind is dict:
        for item in expression.values():
            yield from names_in(item)
    elif isinstance(expression, (tuple, list)):
        for item in expression:
            yield from names_in(item)


def all_reasonable(types: Types) -> bool:
    """Whether each result of an operation is small enough to keep."""
    if types is None:
        return False
    if isinstance(types, TensorType):
        return is_reasonable(types)
    return all(all_reasonable(kind) for kind in types)


__all__ = ["POOLS", "Attribute", "Instance", "Scope", "Story", "all_reasonable", "names_in"]
