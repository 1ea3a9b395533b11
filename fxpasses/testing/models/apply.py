"""Applying one operation to live values: choose the arguments, infer the result, write the call."""

from __future__ import annotations

from collections.abc import Sequence

from fxpasses.testing.models.op_spec import OpSpec, Types
from fxpasses.testing.models.program import Assign, Call, Local
from fxpasses.testing.models.scope import Instance, Scope, all_reasonable
from fxpasses.testing.models.types import TensorType, Value

# How many operations are tried, from the one that the statement names, before it is read as nothing.
ATTEMPTS = 6


def apply_one_of(scope: Scope, table: Sequence[OpSpec], s: bytes) -> list[Value]:
    """Apply the operation that a statement names, or the next of its table that applies."""
    for attempt in range(min(ATTEMPTS, len(table))):
        values = apply(scope, table[(s[1] + attempt) % len(table)], s)
        if values:
            return values
    return []


def apply(scope: Scope, spec: OpSpec, s: bytes) -> list[Value]:
    """Apply one operation; returns its results, or nothing if it does not apply to what is live."""
    arguments = choose_arguments(scope, spec, s)
    if arguments is None:
        return []
    return apply_to(scope, spec, arguments, s)


def apply_to(scope: Scope, spec: OpSpec, arguments: Sequence[Value], s: bytes) -> list[Value]:
    """Apply one operation to given values; returns nothing if it does not apply."""
    types = [argument.type for argument in arguments]
    if not spec.accepts(*types):
        return []
    options = spec.options(s[4], *types)
    results = spec.infer(*types, **options)
    if not all_reasonable(results):
        return []
    constructor, call = spec.write(tuple(Local(argument.name) for argument in arguments), options)
    if constructor is not None:
        path = scope.add_child(constructor, s[5], _plain_name(spec.name))
        call = call._replace(target=path)
        if spec.emit is None:
            scope.instances.append(_instance(path, spec, arguments, results)._replace(constructor=constructor))
    return _write_call(scope, spec, arguments, results, call, s)


def _write_call(
    scope: Scope, spec: OpSpec, arguments: Sequence[Value], results: Types, call: Call, s: bytes
) -> list[Value]:
    _note_effects(scope, spec, arguments)
    if "write" in spec.effects and isinstance(results, TensorType):
        return _write_in_place(scope, arguments[0], results, call, s)
    aliases = "view" in spec.effects
    roots = frozenset[int]().union(*(a.roots for a in arguments)) if aliases else scope.story.new_root()
    writable = not spec.effects & {"views", "overlap"} and (not aliases or all(a.writable for a in arguments))
    return scope.open_results(call, results, roots, s[4] // 2, writable)


def _write_in_place(scope: Scope, target: Value, kind: TensorType, call: Call, s: bytes) -> list[Value]:
    scope.note_write(target, kind)
    if s[5] % 3:
        return [scope.call(call, kind, target.roots, target.writable)]
    # A write whose result nobody takes: what dead code elimination likes to delete.
    scope.add_step(Assign((), call))
    scope.story.nodes += 1
    return [value for value in scope.values if value.name == target.name]


def choose_arguments(scope: Scope, spec: OpSpec, s: bytes) -> list[Value] | None:
    """Live values that an operation accepts, or None."""
    writes = "write" in spec.effects

    def suits(value: Value) -> bool:
        return not writes or scope.is_writable(value)

    if spec.arity == 1:
        value = scope.find(s[2], lambda value: suits(value) and spec.accepts(value.type))
        return None if value is None else [value]
    first = scope.find(s[2], suits)
    return None if first is None else _complete(scope, spec, [first], s, writes)


def _complete(scope: Scope, spec: OpSpec, chosen: list[Value], s: bytes, writes: bool) -> list[Value] | None:
    for position in range(1, spec.arity):
        last = position == spec.arity - 1
        chosen_types = [value.type for value in chosen]

        def suits(value: Value, types: list[TensorType] = chosen_types, last: bool = last) -> bool:
            if writes and value.roots & chosen[0].roots and value.name != chosen[0].name:
                return False
            return not last or spec.accepts(*types, value.type)

        value = scope.find_unused((s[3] >> (position - 1)) & 0xFF, suits)
        if value is None:
            return None
        chosen.append(value)
    return chosen


def _note_effects(scope: Scope, spec: OpSpec, arguments: Sequence[Value]) -> None:
    if "views" in spec.effects and arguments[0].type.gradient:
        # Autograd forbids writes to one of several views, and to the base from now on.
        scope.story.locked |= arguments[0].roots
    if "random" in spec.effects:
        scope.story.features.add("random")


def _instance(path: str, spec: OpSpec, arguments: Sequence[Value], results: Types) -> Instance:
    writes = tuple("write" in spec.effects and index == 0 for index in range(len(arguments)))
    aliases = bool(spec.effects & {"view", "write"})
    kinds = tuple(argument.type for argument in arguments)
    after = tuple(results if isinstance(results, TensorType) else kind for kind in kinds)
    return Instance(path, kinds, results, frozenset(), writes, aliases, leaf=True, cost=1, after=after)


def _plain_name(name: str) -> str:
    return name.rpartition(".")[2].lower()
