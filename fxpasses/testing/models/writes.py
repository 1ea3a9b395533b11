"""Statements that write in place, in each form that PyTorch has for it."""

from __future__ import annotations

from collections.abc import Sequence

from fxpasses.testing.models.apply import apply_one_of
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.ops_combine import AUGMENTED, IN_PLACE_NUMBERS, IN_PLACE_PAIRS
from fxpasses.testing.models.ops_pointwise import IN_PLACE, IN_PLACE_MODULES
from fxpasses.testing.models.ops_shape import indexed, sliced
from fxpasses.testing.models.program import Assign, Call, Local
from fxpasses.testing.models.scope import Scope
from fxpasses.testing.models.types import Value

METHODS = [
    *(spec for spec in IN_PLACE if spec.name.startswith("Tensor.")),
    *IN_PLACE_NUMBERS,
    *(spec for spec in IN_PLACE_PAIRS if spec.emit is None),
]
FUNCTIONS = [spec for spec in IN_PLACE if spec.name.startswith("torch.") and spec.emit is None]
FLAGS = [spec for spec in IN_PLACE if spec.name.startswith("F.")]
OUTS = [spec for spec in [*IN_PLACE, *IN_PLACE_PAIRS] if spec.emit is not None]


def _write(scope: Scope, table: Sequence[OpSpec], feature: str, s: bytes) -> None:
    _ensure_writable(scope, s, plain=feature == "inplace_out")
    if apply_one_of(scope, table, s):
        scope.story.features.add(feature)


def _ensure_writable(scope: Scope, s: bytes, plain: bool = False) -> Value | None:
    """A live value that may be written; where there is none, a new one is made of a live one."""

    def suits(value: Value) -> bool:
        return value.type.is_float and scope.is_writable(value) and not (plain and value.type.gradient)

    found = scope.find(s[2], suits)
    if found is not None and s[3] >= 192:
        # A copy is written, and what it is a copy of is still there.
        return scope.call(Call("method", "clone", (Local(found.name),)), found.type)
    source = found or scope.find(s[2], lambda value: value.type.is_float)
    if found is not None or source is None:
        return found
    kind = source.type.within(min(source.type.low, source.type.low * 2), max(source.type.high, source.type.high * 2))
    return scope.call(Call("operator", "mul", (Local(source.name), 2)), kind)


def by_method(scope: Scope, s: bytes) -> None:
    """`h.relu_()`, `h.add_(x)`."""
    _write(scope, METHODS, "inplace_method", s)


def by_function(scope: Scope, s: bytes) -> None:
    """`torch.relu_(h)`."""
    _write(scope, FUNCTIONS, "inplace_function", s)


def by_flag(scope: Scope, s: bytes) -> None:
    """`F.relu(h, inplace=True)`."""
    _write(scope, FLAGS, "inplace_flag", s)


def by_module(scope: Scope, s: bytes) -> None:
    """`self.relu(h)` with `nn.ReLU(inplace=True)`."""
    _write(scope, IN_PLACE_MODULES, "inplace_module", s)


def by_out(scope: Scope, s: bytes) -> None:
    """`torch.add(h, x, out=h)`."""
    _write(scope, OUTS, "inplace_out", s)


def through_view(scope: Scope, s: bytes) -> None:
    """`h[:, :1].mul_(2)`: the write changes `h`, which the statement's result does not show."""
    value = _ensure_writable(scope, s)
    if value is None or value.type.ndim == 0:
        return
    index = sliced(s[1], value.type) if value.type.ndim >= 2 else slice(1)
    kind = indexed(value.type, index)
    view = Call("operator", "getitem", (Local(value.name), index))
    written = kind.within(min(2 * kind.low, kind.low) - 1, max(2 * kind.high, kind.high) + 1)
    forms = [("mul_", (2,)), ("add_", (1,)), ("sub_", (0.5,)), ("zero_", ()), ("neg_", ())]
    name, arguments = forms[s[4] % len(forms)]
    scope.note_write(value, written)
    scope.story.nodes += 1
    if s[5] % 2:
        made = scope.call(view, written, value.roots)
        scope.add_step(Assign((), Call("method", name, (Local(made.name), *arguments))))
    else:
        scope.add_step(Assign((), Call("method", name, (view, *arguments))))
    scope.story.nodes += 1
    scope.story.features.add("view_write")


def by_augmented_assignment(scope: Scope, s: bytes) -> None:
    """`h += 1`."""
    _write(scope, AUGMENTED, "augmented_assignment", s)


def by_item_assignment(scope: Scope, s: bytes) -> None:
    """`h[:, 0] = 1.0`."""
    value = _ensure_writable(scope, s)
    if value is None or value.type.ndim < 2:
        return
    scope.note_write(value, value.type.within(min(value.type.low, 1), max(value.type.high, 1)))
    call = Call("operator", "setitem", (Local(value.name), sliced(s[1], value.type), 1.0))
    scope.add_step(Assign((), call))
    scope.story.nodes += 1
    scope.story.features.add("item_assignment")
