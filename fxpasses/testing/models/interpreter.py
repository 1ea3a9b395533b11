"""Reading a spec: a list of inputs, a list of statements and a list of outputs become a `Program`.

A spec is read totally. Each of its elements is a few bytes, every byte means something, an argument is looked up
modulo the live values of a suitable type, and a statement that does not apply is read as nothing. So any spec is
a valid model, and so is what is left of one after any deletion: the model that a failing test shrinks to is found
by deleting statements, not by searching for valid ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from fxpasses.testing.models import containers
from fxpasses.testing.models.containers import Chain
from fxpasses.testing.models.joins import join_all
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Block, Call, Input, Local, Parameter, Program, TensorSource
from fxpasses.testing.models.scope import INPUT_POOL, POOLS, Scope, Story
from fxpasses.testing.models.statements import kind_of
from fxpasses.testing.models.types import TensorType, Value

STATEMENT = 6
INPUT = 3
OUTPUT = 1
SHAPES = ((2, 3), (2, 4), (2, 3, 4, 4), (2, 3, 4), (3, 3), (2, 4, 4, 4), (2, 2, 4), (4, 4), (2, 3, 5, 5), (1, 3))


class Spec(NamedTuple):
    """A model as short byte strings; every value is a valid one.

    Attributes:
        inputs: Three bytes an input: structure, shape, dtype.
        statements: Six bytes a statement: kind, operation, first and second argument, constants, name.
        outputs: One byte an output beyond the first.
        disabled: The mask of the features that are off.
        pool: Which names collide: 0 for all that `POOLS` has, else those of one kind.
        training: Whether the model trains.
    """

    inputs: Sequence[bytes] = ()
    statements: Iterable[bytes] = ()
    outputs: Sequence[bytes] = ()
    disabled: int = 0
    pool: int = 0
    training: bool = False


@dataclass(frozen=True)
class Limits:
    """How large a model may become, and what it may return.

    The number of nodes is that of the operations in a trace; it may exceed `max_nodes` by the last statement's.
    """

    min_nodes: int = 1
    max_nodes: int = 40
    max_depth: int = 2
    max_inputs: int = 3
    operations: tuple[OpSpec, ...] = ()
    outputs: Collection[str] = ("tensor", "tuple", "dict")


def interpret(spec: Spec, limits: Limits | None = None) -> Program:
    """The model that a spec describes.

    Example:
        >>> from fxpasses.testing.models.render import render
        >>> program = interpret(Spec(statements=[bytes(6)]))
        >>> [step.value.target for step in program.root.steps]
        ['torch.relu']
    """
    limits = limits or Limits()
    names = POOLS[spec.pool % len(POOLS)]
    story = Story(spec.disabled, names, limits.max_nodes, limits.max_depth, limits.max_inputs, limits.operations)
    root = Scope(story, Block("Model"), 0)
    story.stack.append(root)
    story.inputs = _read_inputs(root, [*spec.inputs, bytes(INPUT)][: max(1, min(limits.max_inputs, len(spec.inputs)))])
    for statement in spec.statements:
        if story.nodes >= limits.max_nodes:
            break
        read(story, statement)
    containers.close_all(story)
    _fill_up(root, limits.min_nodes)
    root.block.result = _read_outputs(root, spec.outputs, limits.outputs)
    return Program([*story.blocks, root.block], story.inputs, frozenset(story.features), story.frozen)


def read(story: Story, s: bytes) -> None:
    """Read one statement inside of whatever is open."""
    top = story.stack[-1]
    if not isinstance(top, Chain):
        kind_of(top, s).read(top, s)
        return
    reader = kind_of(next(reversed(list(story.scopes()))), s).read
    if reader is containers.close:
        containers.close_chain(top)
        return
    openers = {containers.open_block: "block", containers.open_sequential: "sequential"}
    containers.read_in_chain(top, s, openers.get(reader))  # pyright: ignore[reportArgumentType] - any reader may be asked for
    if story.stack[-1] is top and top.full:
        containers.close_chain(top)


def _fill_up(root: Scope, min_nodes: int) -> None:
    """Add plain statements until the model has its least number of nodes."""
    while root.story.nodes < min_nodes:
        before = root.story.nodes
        read(root.story, bytes(STATEMENT))
        if root.story.nodes == before:
            latest = root.values[-1]
            root.call(Call("function", "torch.clone", (Local(latest.name),)), latest.type)


def _read_inputs(root: Scope, spec: Sequence[bytes]) -> list[Input]:
    inputs = [_read_input(root, s) for s in spec]
    if len(inputs) > 1:
        root.story.features.add("multi_input")
    return inputs


def _read_input(root: Scope, s: bytes) -> Input:
    story = root.story
    taken = {parameter.name for parameter in root.block.parameters}
    pool = INPUT_POOL if story.allows("colliding_names") else ("x", "y", "z", "u", "v", "w")
    name = next(candidate for candidate in (*pool, *(f"input{n}" for n in range(99))) if candidate not in taken)
    form = s[0] % 16
    if form == 15 and story.allows("dict_io"):
        return _structured(root, name, s, {"left": 0, "right": 1})
    if form == 14 and story.allows("tuple_io"):
        return _structured(root, name, s, (0, 1))
    kind = _input_type(story, s, s[1])
    keyword_only = form in (11, 12) and bool(taken) and story.allows("keywords")
    root.block.parameters.append(Parameter(name, keyword_only=keyword_only))
    if keyword_only:
        story.features.add("keywords")
    _add_input(root, name, kind)
    return Input(name, TensorSource(kind, story.next_phase()), by_keyword=keyword_only)


def _input_type(story: Story, s: bytes, byte: int) -> TensorType:
    shape = SHAPES[byte % len(SHAPES)]
    if not story.allows("integers") or s[2] < 208:
        return TensorType(shape, torch.float64 if s[2] % 32 == 31 else torch.float32)
    story.features.add("integers")
    if s[2] % 4 == 3:
        return TensorType(shape, torch.bool, 0, 1)
    return TensorType(shape, torch.int32 if s[2] % 8 == 7 else torch.int64, 0, 4)


def _add_input(root: Scope, name: str, kind: TensorType) -> Value:
    value = Value(name, kind, root.story.new_root())
    if not root.story.allows("input_write"):
        root.story.locked |= value.roots
    root.values.append(value)
    return value


def _structured(root: Scope, name: str, s: bytes, parts: Any) -> Input:
    """A tuple or a dict of two tensors; the forward starts by taking them out."""
    story = root.story
    root.block.parameters.append(Parameter(name))
    story.features.add("dict_io" if isinstance(parts, dict) else "tuple_io")
    sources: list[TensorSource] = []
    for offset, key in enumerate(parts):
        kind = _input_type(story, s, s[1] + offset * 3)
        value = root.call(Call("operator", "getitem", (Local(name), key)), kind)
        if not story.allows("input_write"):
            story.locked |= value.roots
        sources.append(TensorSource(kind, story.next_phase()))
    whole = dict(zip(parts, sources, strict=True)) if isinstance(parts, dict) else tuple(sources)
    return Input(name, whole)


def _not_in(values: list[Value]) -> Callable[[Value], bool]:
    return lambda value: value not in values


def _read_outputs(root: Scope, extra: Sequence[bytes], allowed: Collection[str]) -> Any:
    if not extra or extra[0][0] < 160:
        join_all(root)
    values = [root.values[-1]]
    extra = extra if root.story.allows("multi_output") else ()
    for (byte,) in extra:
        value = root.find(byte, lambda _value: True) if byte >= 128 else root.find_unused(byte, _not_in(values))
        values += [value] if value is not None else []
    names = [Local(value.name) for value in reversed(values)]
    possible = {"tuple": "tuple", "dict": "dict", "nested": "tuple"}
    forms = [form for form, kind in possible.items() if kind in allowed and root.story.allows(f"{kind}_io")]
    features = root.story.features
    if not forms or (len(names) == 1 and "tensor" in allowed):
        return names[-1]
    if len(names) > 1:
        features.add("multi_output")
    form = forms[extra[0][0] % len(forms)] if extra else forms[0]
    if form == "dict":
        features.add("dict_io")
        return {f"out{index}": name for index, name in enumerate(names)}
    features.add("tuple_io")
    return (names[0], names[1:]) if form == "nested" and len(names) > 1 else tuple(names)
