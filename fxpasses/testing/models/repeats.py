"""Statements that write a call once more: what a pass that merges equal calls must tell apart."""

from __future__ import annotations

from fxpasses.testing.models.program import Assign, Call, Local
from fxpasses.testing.models.scope import Scope
from fxpasses.testing.models.types import TensorType, Value


def repeat_call(scope: Scope, s: bytes) -> None:
    """An earlier call again with the same arguments, or applied to its own result: `f(x)` twice, or `f(f(x))`."""
    known = {value.name: value for value in scope.values}
    calls = [step for step in scope.block.steps if isinstance(step, Assign) and _is_repeatable(scope, step, known)]
    if not calls:
        return
    step = calls[-1 - (s[2] % len(calls) if s[2] >= 96 else 0)]
    result = known[step.targets[0]]
    call = step.value
    if s[4] % 3 == 2 and _is_alike(known[call.args[0].name], result):
        call = call._replace(args=(Local(result.name), *call.args[1:]))
        bound = max(result.type.bound, known[step.value.args[0].name].type.bound) * 4
        scope.call(call, result.type.within(min(result.type.low, -bound), max(result.type.high, bound)))
    else:
        scope.call(call, result.type, result.roots | scope.story.new_root(), result.writable)
    scope.story.features.add("repeated_call")


def _is_repeatable(scope: Scope, step: Assign, known: dict[str, Value]) -> bool:
    """Whether a call can be made again: it writes nothing, and is applied to live values."""
    call = step.value
    if len(step.targets) != 1 or step.targets[0] not in known or not isinstance(call, Call):
        return False
    if call.kind == "module":
        pure = [each.path for each in scope.instances if each.leaf and not any(each.writes)]
        return call.target in pure and all(isinstance(arg, Local) and arg.name in known for arg in call.args)
    if call.target.endswith("_") or call.kwargs.get("out") or call.kwargs.get("inplace"):
        return False
    if call.target.startswith("i") and call.kind == "operator":
        return False
    return bool(call.args) and all(isinstance(arg, Local) and arg.name in known for arg in call.args[:1])


def _is_alike(argument: Value, result: Value) -> bool:
    one: TensorType = argument.type
    return one.shape == result.type.shape and one.dtype is result.type.dtype and one.is_float and not one.low >= 0
