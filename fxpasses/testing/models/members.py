"""Statements about what a block owns: parameters, buffers, ties, aliases, and calling a child again."""

from __future__ import annotations

from functools import partial

from fxpasses.testing.models.apply import apply_to
from fxpasses.testing.models.ops_combine import multiplied
from fxpasses.testing.models.ops_modules import LAYERS, LINEAR
from fxpasses.testing.models.ops_pointwise import ACTIVATIONS
from fxpasses.testing.models.program import (
    Assign,
    Attribute,
    Call,
    Child,
    Construct,
    Local,
    TensorMember,
    TensorSource,
    Tie,
)
from fxpasses.testing.models.scope import Instance, Scope, fits
from fxpasses.testing.models.types import TensorType, Value


def _add_tensor(scope: Scope, kind: TensorType, role: str, s: bytes) -> Attribute:
    plain = {"parameter": "weight", "buffer": "offset", "scratch": "cache"}[role]
    name = scope.new_name(s[5], plain)
    source = TensorSource(kind, scope.story.next_phase())
    scope.block.members.append(TensorMember(name, source, role))  # pyright: ignore[reportArgumentType] - a literal
    return Attribute(name)


def _combine(scope: Scope, value: Value, own: Attribute, kind: TensorType, knob: int) -> None:
    this = Local(value.name)
    bound = (value.type.bound + 1) * (kind.bound + 1)
    result = value.type.within(-bound, bound)._replace(gradient=value.type.gradient or kind.gradient)
    forms = [
        Call("operator", "add", (this, own)),
        Call("operator", "mul", (this, own)),
        Call("function", "torch.add", (this, own)),
        Call("method", "mul", (this, own)),
        Call("operator", "sub", (own, this)),
    ]
    scope.call(forms[knob % len(forms)], result)
    scope.story.nodes += 1


def _find_float(scope: Scope, s: bytes) -> Value | None:
    return scope.find(s[2], lambda value: value.type.is_float and value.type.ndim >= 1 and value.type.bound <= 100)


def use_parameter(scope: Scope, s: bytes) -> None:
    """A parameter of the block's own: `h * self.weight`, or `F.linear(h, self.weight)`."""
    value = _find_float(scope, s)
    if value is None:
        return
    scope.story.features.add("parameter")
    width = value.type.shape[-1]
    if s[4] % 3 < 2:
        kind = TensorType((width,), value.type.dtype, gradient=True)
        _combine(scope, value, _add_tensor(scope, kind, "parameter", s), kind, s[3])
        return
    outer = 2 + s[3] % 4
    kind = TensorType((outer, width), value.type.dtype, gradient=True)
    own = _add_tensor(scope, kind, "parameter", s)
    result = multiplied(value.type, kind.reshaped((width, outer))) if value.type.ndim > 1 else None
    if result is not None:
        scope.call(Call("function", "F.linear", (Local(value.name), own)), result)
        scope.story.nodes += 1


def use_buffer(scope: Scope, s: bytes) -> None:
    """A persistent buffer: `h + self.offset`."""
    _use_buffer(scope, s, "buffer", "buffer")


def use_transient_buffer(scope: Scope, s: bytes) -> None:
    """A buffer that `state_dict` leaves out: `h + self.cache`."""
    _use_buffer(scope, s, "scratch", "transient_buffer")


def _use_buffer(scope: Scope, s: bytes, role: str, feature: str) -> None:
    value = _find_float(scope, s)
    if value is None:
        return
    kind = TensorType(value.type.shape[-1:], value.type.dtype)
    _combine(scope, value, _add_tensor(scope, kind, role, s), kind, s[4])
    scope.story.features.add(feature)


def write_buffer(scope: Scope, s: bytes) -> None:
    """A running statistic: `self.offset.add_(h.detach().mean())`, whose result nobody takes."""
    value = _find_float(scope, s)
    if value is None:
        return
    kind = TensorType(value.type.shape[-1:], value.type.dtype)
    own = _add_tensor(scope, kind, "buffer", s)
    update = Call("method", "mean", (Call("method", "detach", (Local(value.name),)),))
    scope.add_step(Assign((), Call("method", ("add_", "mul_", "copy_")[s[4] % 3], (own, update))))
    scope.story.nodes += 4
    if s[4] % 2 == 0:
        _combine(scope, value, own, kind.within(-101, 101), s[3])
    scope.story.features.add("buffer_write")


def add_constant_noise(scope: Scope, s: bytes) -> None:
    """`h + torch.randn(3)`: a tracer draws it once and keeps it."""
    value = _find_float(scope, s)
    if value is None:
        return
    noise = Call("function", ("torch.randn", "torch.rand")[s[4] % 2], (value.type.shape[-1],))
    kind = value.type.within(value.type.low - 6, value.type.high + 6)
    scope.call(Call("operator", "add", (Local(value.name), noise)), kind)
    scope.story.features.add("trace_time_random")


def count_call(scope: Scope, s: bytes) -> None:
    """`self.count.add_(1)`: a tracer runs it on the model's own buffer, and does not record it."""
    value = _find_float(scope, s)
    if value is None:
        return
    kind = TensorType((1,), value.type.dtype, 0, 100)
    own = _add_tensor(scope, kind, "buffer", s)
    scope.add_step(Assign((), Call("method", "add_", (own, 1))))
    _combine(scope, value, own, kind, 0)
    scope.story.features.add("trace_time_write")


def tie(scope: Scope, s: bytes) -> None:
    """Two linear layers with one weight, or `F.linear(h, self.linear.weight)`."""
    value = scope.find(s[2], lambda value: LINEAR.accepts(value.type) and value.type.bound <= 100)
    if value is None:
        return
    width = value.type.shape[-1]
    first = apply_to(scope, LINEAR, [value], bytes([*s[:4], 0, s[5]]))
    if not first:
        return
    of = scope.instances[-1]
    scope.story.features.add("tied")
    if s[4] % 2:
        bound = first[0].type.bound
        weight = Attribute(f"{of.path}.weight")
        kind = first[0].type.within(-bound, bound)
        scope.call(Call("function", "F.linear", (Local(value.name), weight)), kind)
        scope.story.nodes += 1
        return
    name = scope.new_name(s[3], "tied")
    constructor = Construct("nn.Linear", (width, width), {"bias": False})
    scope.block.members += [Child(name, constructor), Tie(name, of.path, "weight")]
    instance = Instance(name, of.arguments, of.results, frozenset(), (False,), False, True, 1, constructor=constructor)
    scope.instances.append(instance)
    scope.invoke(instance, [first[0] if s[4] % 4 else value], s[4])


def _suits(scope: Scope, instance: Instance, kind: TensorType, value: Value) -> bool:
    return fits(kind, value.type, instance.leaf) and (not any(instance.writes) or scope.is_writable(value))


def _again(scope: Scope, s: bytes, instances: list[Instance]) -> tuple[Instance, list[Value]] | None:
    """An instance, and live values that it may be called with once more."""
    for attempt in range(min(4, len(instances))):
        instance = instances[-1 - (s[1] + attempt) % len(instances)]
        arguments: list[Value] = []
        for kind in instance.arguments:
            suits = partial(_suits, scope, instance, kind)
            value = scope.find(s[2] if not arguments else s[3], suits)
            arguments += [value] if value is not None else []
        complete = len(arguments) == len(instance.arguments)
        if complete and scope.accepts_again(instance, arguments):
            return instance, arguments
    return None


def call_leaf_again(scope: Scope, s: bytes) -> None:
    """Call a layer once more, or several times, as one activation serves a whole model; make one where there is none."""
    found = _again(scope, s, [instance for instance in scope.instances if instance.leaf])
    if found is None:
        value = scope.find(s[2], lambda value: ACTIVATIONS[0].accepts(value.type))
        if value is None or not apply_to(scope, ACTIVATIONS[s[1] % 4], [value], s):
            return
        found = _again(scope, bytes([s[0], 0, *s[2:]]), scope.instances[-1:])
    for _ in range(1 + s[5] % 4):
        if found is None:
            return
        instance, arguments = found
        scope.invoke(instance, arguments, s[4])
        scope.story.features.add("leaf_reuse")
        found = _again(scope, s, [instance])


def call_block_again(scope: Scope, s: bytes) -> None:
    """Call a block or a container that was called before."""
    found = _again(scope, s, [instance for instance in scope.instances if not instance.leaf])
    if found is None:
        return
    instance, arguments = found
    if s[5] % 4 == 3 and instance.constructor is not None and instance.length is None:
        # Another instance of the same class: same code, its own weights.
        path = scope.add_child(instance.constructor, s[5], f"{instance.path}_twin")
        instance = instance._replace(path=path)
        scope.instances.append(instance)
    scope.invoke(instance, arguments, s[4])
    scope.story.features.add("block_reuse")


def call_by_alias(scope: Scope, s: bytes) -> None:
    """Give a child a second name, and call it by that name."""
    named = [instance for instance in scope.instances if "." not in instance.path and instance.length is None]
    found = _again(scope, s, named)
    if found is None:
        value = scope.find(s[2], lambda value: value.type.is_float and value.type.ndim >= 1)
        if value is None or not apply_to(scope, LAYERS[0], [value], s):
            return
        scope.add_alias(scope.instances[-1].path, s[3])
        return
    instance, arguments = found
    name = scope.add_alias(instance.path, s[3])
    scope.invoke(instance._replace(path=name), arguments, s[4])
