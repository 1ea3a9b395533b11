"""What one statement of a spec may mean: every kind of statement, and the table that a byte is looked up in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from fxpasses.testing.models import containers, members, writes
from fxpasses.testing.models.apply import apply, apply_one_of
from fxpasses.testing.models.features import mask_of
from fxpasses.testing.models.joins import join
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.ops_combine import MANY, NUMBERS, PAIRS
from fxpasses.testing.models.ops_modules import BATCH_NORM, DROPOUT, IDENTITY, LAYERS, RANDOM_LIKE, RANDOM_OPS
from fxpasses.testing.models.ops_pointwise import ACTIVATIONS, CASTS, POINTWISE
from fxpasses.testing.models.ops_reduce import PAIRED_RESULTS, REDUCTIONS
from fxpasses.testing.models.ops_shape import JOINING, RESHAPING, SPLITTING
from fxpasses.testing.models.program import Assign, Branch, Call, Input, Local, ModeFlag, Parameter
from fxpasses.testing.models.repeats import repeat_call
from fxpasses.testing.models.scope import Scope
from fxpasses.testing.models.types import Value

Reader = Callable[[Scope, bytes], object]


class Kind(NamedTuple):
    """One kind of statement: how often it is meant, the features that it takes, and how it is read."""

    weight: int
    features: str
    read: Reader

    @property
    def mask(self) -> int:
        """The bits of its features."""
        return mask_of(self.features.split())


def _table(specs: list[OpSpec], feature: str | None = None) -> Reader:
    def read(scope: Scope, s: bytes) -> None:
        if apply_one_of(scope, specs, s) and feature is not None:
            scope.story.features.add(feature)

    return read


def _residual(scope: Scope, s: bytes) -> None:
    """`h = h + x` where `x` is older and already used."""
    latest = scope.values[-1]
    shortcut = scope.find(255 - s[2] % 64, lambda value: value.name != latest.name and _same(value, latest))
    if shortcut is None or latest.type.is_bool:
        return
    kind = latest.type._replace(
        low=latest.type.low + shortcut.type.low,
        high=latest.type.high + shortcut.type.high,
        gradient=latest.type.gradient or shortcut.type.gradient,
    )
    scope.call(Call("operator", "add", (Local(latest.name), Local(shortcut.name))), kind)
    scope.story.features.add("residual")


def _same(a: Value, b: Value) -> bool:
    return a.type.shape == b.type.shape and a.type.dtype is b.type.dtype


def _masked(scope: Scope, s: bytes) -> None:
    """A comparison and a `torch.where` that uses it."""
    value = scope.find(s[2], lambda value: not value.type.is_bool)
    other = value and scope.find_unused(s[3], lambda other: _same(other, value))
    if value is None or other is None:
        return
    mask_type = value.type.as_dtype(torch.bool).within(0, 1)
    mask = scope.call(Call("operator", "gt", (Local(value.name), 0)), mask_type)
    low, high = min(value.type.low, other.type.low), max(value.type.high, other.type.high)
    kind = value.type._replace(low=low, high=high, gradient=value.type.gradient or other.type.gradient)
    arguments = (Local(mask.name), Local(value.name), Call("operator", "mul", (Local(other.name), 2)))
    scope.call(Call("function", "torch.where", arguments), kind.within(min(low, low * 2), max(high, high * 2)))
    scope.story.nodes += 1


def _scale_by_size(scope: Scope, s: bytes) -> None:
    """`h / h.shape[-1]`, `h * h.size(0)`, `h.reshape(h.size(0), -1)`."""
    value = scope.find(s[2], lambda value: value.type.is_float and value.type.ndim >= 1)
    if value is None:
        return
    this, kind = Local(value.name), value.type
    size = Call("method", "size", (this, 0))
    last = Call("operator", "getitem", (Call("attribute", "shape", (this,)), -1))
    if s[4] % 3 == 0:
        scope.call(Call("operator", "truediv", (this, last)), kind)
    elif s[4] % 3 == 1:
        flat = kind.reshaped((kind.shape[0], kind.numel // kind.shape[0]))
        scope.call(Call("method", "reshape", (this, size, -1)), flat, value.roots, value.writable)
    else:
        bound = kind.bound * kind.shape[0]
        scope.call(Call("operator", "mul", (this, size)), kind.within(-bound, bound))
    scope.story.nodes += 1
    scope.story.features.add("size_arithmetic")


def _functional_dropout(scope: Scope, s: bytes) -> None:
    value = scope.find(s[2], lambda value: value.type.is_float)
    if value is None:
        return
    rate = (1 + s[4] % 3) / 4
    bound = value.type.bound / (1 - rate)
    kind = value.type.within(-bound, bound)
    in_place = s[4] % 4 == 3 and scope.is_writable(value)
    kwargs = {"p": rate, "training": ModeFlag(), **({"inplace": True} if in_place else {})}
    if in_place:
        scope.note_write(value, kind)
    scope.call(Call("function", "F.dropout", (Local(value.name),), kwargs), kind, value.roots, value.writable)
    scope.story.features |= {"dropout_function", "random"}


def _scale_by_number(scope: Scope, s: bytes) -> None:
    """Use a number that the caller may give by keyword: `h * scale`."""
    value = scope.find(s[2], lambda value: value.type.is_float)
    if not scope.numbers and scope.depth == 0 and len(scope.story.inputs) < scope.story.max_inputs:
        _add_number(scope, given=s[5] % 2 == 1)
    if value is None or not scope.numbers:
        return
    number = scope.numbers[s[3] % len(scope.numbers)]
    name = ("mul", "add", "sub")[s[4] % 3]
    bound = 2 * value.type.bound + 2
    scope.call(Call("operator", name, (Local(value.name), Local(number))), value.type.within(-bound, bound))


def _add_number(scope: Scope, given: bool) -> None:
    """One more parameter of the model, with a default, that is given by keyword or left out."""
    taken = {parameter.name for parameter in scope.block.parameters}
    name = next(name for name in ("scale", "alpha", "beta", "gamma") if name not in taken)
    named = any(parameter.keyword_only for parameter in scope.block.parameters)
    scope.block.parameters.append(Parameter(name, default=0.5, keyword_only=named or given))
    scope.story.inputs.append(Input(name, 2.0 if given else None, by_keyword=True))
    scope.numbers.append(name)
    scope.story.features.add("keywords")


def _branch(scope: Scope, s: bytes) -> None:
    """`if self.training: … else: …`, where both arms give a value of one type."""
    value = scope.find(s[2], lambda value: value.type.is_float)
    if value is None:
        return
    train = _arm(scope, value, s[1], s)
    otherwise = _arm(scope, value, s[3], s) if s[4] % 3 else Local(value.name)
    if train == otherwise:
        otherwise = Local(value.name)
    bound = 3 * value.type.bound + 3
    result = scope.add_value(value.type.within(-bound, bound)._replace(gradient=True), value.roots, value.writable)
    scope.add_step(Branch([Assign((result.name,), train)], [Assign((result.name,), otherwise)]))
    scope.story.nodes += isinstance(otherwise, Call)  # what one mode only computes does not count
    scope.story.features.add("branch")


def _arm(scope: Scope, value: Value, byte: int, s: bytes) -> Call:
    this = Local(value.name)
    twin = scope.find(s[5], lambda other: _same(other, value)) or value
    arms = [
        Call("operator", "mul", (this, 2.0)),
        Call("function", "torch.relu", (this,)),
        Call("operator", "add", (this, Local(twin.name))),
        Call("operator", "mul", (this, 3.0)),
        Call("function", "torch.tanh", (this,)),
        Call("operator", "sub", (this, Local(scope.values[0].name if _same(scope.values[0], value) else value.name))),
    ]
    if scope.story.allows("dropout_function") and scope.story.allows("random"):
        arms.append(Call("function", "F.dropout", (this,), {"p": 0.5, "training": True}))
    return arms[byte % len(arms)]


def _dead(scope: Scope, s: bytes) -> None:
    """A value that nothing will use: a pure one, or a draw of a random number, which is missed when it is gone."""
    if apply_one_of(scope, RANDOM_LIKE if s[3] >= 160 and scope.story.allows("random") else POINTWISE, s):
        scope.values.pop()
        scope.story.features.add("dead_code")


def _freeze(scope: Scope, s: bytes) -> None:
    """A child that stays in eval mode when the model trains."""
    modules = [instance for instance in scope.instances if instance.length is None and "." not in instance.path]
    if scope.depth == 0 and modules:
        path = modules[s[2] % len(modules)].path
        if path not in scope.story.frozen:
            scope.story.frozen.append(path)
            scope.story.features.add("frozen")


def _own_operation(scope: Scope, s: bytes) -> None:
    if scope.story.operations:
        apply_one_of(scope, scope.story.operations, s)


def _identity(scope: Scope, s: bytes) -> None:
    if apply(scope, IDENTITY, s):
        scope.story.features.add("identity")


# The simplest come first: a byte shrinks towards zero. The weights are of the number of codes, which is below 256: what a
# byte can say beyond them is left to whoever writes lists of statements.
KINDS = [
    Kind(9, "", _table(POINTWISE)),
    Kind(13, "", containers.close),
    Kind(5, "", _table(NUMBERS)),
    Kind(5, "", _table(PAIRS)),
    Kind(6, "", _table(MANY)),
    Kind(11, "layers", _table(LAYERS, "layers")),
    Kind(4, "activations", _table(ACTIVATIONS, "activations")),
    Kind(7, "residual", _residual),
    Kind(10, "", join),
    Kind(6, "", _table(RESHAPING)),
    Kind(3, "", _table(REDUCTIONS)),
    Kind(3, "paired_result", _table(PAIRED_RESULTS, "paired_result")),
    Kind(3, "concat", _table(JOINING, "concat")),
    Kind(3, "split", _table(SPLITTING, "split")),
    Kind(2, "", _masked),
    Kind(5, "repeated_call", repeat_call),
    Kind(3, "casts", _table(CASTS, "casts")),
    Kind(3, "size_arithmetic", _scale_by_size),
    Kind(3, "keywords", _scale_by_number),
    Kind(4, "batch_norm", _table(BATCH_NORM, "batch_norm")),
    Kind(3, "dropout_module random", _table(DROPOUT, "dropout_module")),
    Kind(3, "dropout_function random", _functional_dropout),
    Kind(3, "random", _table(RANDOM_OPS)),
    Kind(3, "branch", _branch),
    Kind(3, "identity", _identity),
    Kind(3, "dead_code", _dead),
    Kind(5, "frozen", _freeze),
    Kind(3, "parameter", members.use_parameter),
    Kind(3, "buffer", members.use_buffer),
    Kind(3, "transient_buffer", members.use_transient_buffer),
    Kind(3, "buffer_write", members.write_buffer),
    Kind(3, "tied", members.tie),
    Kind(4, "alias", members.call_by_alias),
    Kind(11, "leaf_reuse", members.call_leaf_again),
    Kind(8, "block_reuse", members.call_block_again),
    Kind(3, "inplace_method", writes.by_method),
    Kind(3, "inplace_function", writes.by_function),
    Kind(4, "inplace_flag", writes.by_flag),
    Kind(3, "inplace_module", writes.by_module),
    Kind(3, "inplace_out", writes.by_out),
    Kind(3, "view_write", writes.through_view),
    Kind(2, "augmented_assignment", writes.by_augmented_assignment),
    Kind(2, "item_assignment", writes.by_item_assignment),
    Kind(2, "trace_time_random", members.add_constant_noise),
    Kind(2, "trace_time_write", members.count_call),
    Kind(3, "", _own_operation),
    Kind(4, "block", containers.open_block),
    Kind(4, "sequential", containers.open_sequential),
    Kind(3, "module_list", containers.open_module_list),
    Kind(3, "module_dict", containers.open_module_dict),
]
# Every kind once, then again those that are meant more often: a shrinker that lowers a code meets one kind after another.
CODES = [(kind, kind.mask) for n in range(max(kind.weight for kind in KINDS)) for kind in KINDS if kind.weight > n]


def kind_of(scope: Scope, s: bytes) -> Kind:
    """The kind that a statement means: its code's, or the next one that this model's features allow.

    A kind that is turned off leaves the table, and every other keeps its codes.
    """
    story = scope.story
    start = s[0]
    for offset in range(len(CODES)):
        kind, mask = CODES[(start + offset) % len(CODES)]
        if not mask & story.disabled and (kind.read is not _own_operation or story.operations):
            return kind
    return KINDS[0]
