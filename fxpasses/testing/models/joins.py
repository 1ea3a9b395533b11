"""Using up values that nothing uses yet, so that most of a model's operations matter to its result."""

from __future__ import annotations

from fxpasses.testing.models.program import Call, Local
from fxpasses.testing.models.scope import Scope
from fxpasses.testing.models.types import LARGEST_BOUND, LARGEST_NUMEL, broadcast

MOST_JOINS = 4


def join(scope: Scope, s: bytes) -> bool:
    """Use two values that nothing uses yet: `h + x`, or `h + x.mean()` where the shapes do not fit."""
    fresh = [value for value in scope.values if value.name not in scope.used and value.type.is_float]
    if len(fresh) < 2:
        return False
    a, b = fresh[-1], fresh[-2 - s[2] % (len(fresh) - 1)]
    if a.type.dtype is not b.type.dtype:
        return False
    shape = broadcast(a.type.shape, b.type.shape)
    other = Local(b.name) if shape is not None else Call("method", "mean", (Local(b.name),))
    bound = a.type.bound + b.type.bound
    kind = a.type.reshaped(shape or a.type.shape).within(-bound, bound)
    kind = kind._replace(gradient=a.type.gradient or b.type.gradient)
    if kind.numel > LARGEST_NUMEL or bound > LARGEST_BOUND:
        return False
    scope.call(Call("operator", "add", (Local(a.name), other)), kind)
    return True


def join_all(scope: Scope) -> None:
    """Join what is left over at the end of a forward."""
    for _ in range(MOST_JOINS):
        if not join(scope, bytes(6)):
            return
