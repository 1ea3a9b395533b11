"""What can be wrong with what nodes call: targets that do not exist, arguments that they do not take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import fx, nn

from fxpasses.graph.parameters import Parameters, parameters_of_forward, parameters_of_function, parameters_of_method
from fxpasses.graph.state import GraphColumns, NodeRow
from fxpasses.graph.verify.problem import Problem

_MISSING = object()
_RECEIVERS = (torch.Tensor, torch.Size, tuple, list, dict, str, int, float, set, slice, torch.device, torch.dtype)


def call_problems(columns: GraphColumns, owner: nn.Module) -> Iterator[Problem]:
    """Yields what is wrong with targets and arguments; `owner` is where modules and attributes are looked up."""
    found: dict[str, object] = {}
    fine: set[object] = set()
    for row in columns.rows():
        # Calls of the same thing with as many arguments are right or wrong together.
        target = row.target if isinstance(row.target, str) else id(row.target)
        call = (row.op, target, len(row.args), *row.kwargs)
        if call in fine:
            continue
        problems = list(_call_problems(row, owner, found))
        yield from problems
        if not problems and row.op != "call_method":
            fine.add(call)


def _call_problems(row: NodeRow, owner: nn.Module, found: dict[str, object]) -> Iterator[Problem]:
    if row.op == "call_function":
        yield from _function_problems(row)
    elif not isinstance(row.target, str):
        text = f"The target of the {row.op} node {row.name!r} is a {type(row.target).__name__}, not a string."
        yield Problem("target", row.node, text)
    elif row.op == "call_method":
        yield from _method_problems(row)
    elif row.op in ("call_module", "get_attr"):
        if row.target not in found:
            found[row.target] = _attribute(owner, row.target)
        yield from _attribute_problems(row, found[row.target])


def _function_problems(row: NodeRow) -> Iterator[Problem]:
    if not callable(row.target):
        yield Problem("target", row.node, f"{row.name!r} calls {row.target!r}, which cannot be called.")
        return
    yield from _argument_problems(row, parameters_of_function(row.target), getattr(row.target, "__name__", "it"))


def _method_problems(row: NodeRow) -> Iterator[Problem]:
    if not row.args:
        yield Problem(
            "argument", row.node, f"{row.name!r} calls the method {row.target!r} of nothing: it has no argument."
        )
        return
    if not _has_method(row.args[0], row.target):
        yield Problem("target", row.node, f"{row.name!r} calls a method {row.target!r}, which no value has.")
    elif [kind for kind in _RECEIVERS if hasattr(kind, row.target)] == [torch.Tensor]:
        yield from _argument_problems(row, parameters_of_method(row.target), f"Tensor.{row.target}")


def _has_method(receiver: object, name: str) -> bool:
    if isinstance(receiver, fx.Node):
        value = receiver.meta.get("val", receiver.meta.get("example_value"))
        if isinstance(value, torch.Tensor):
            return hasattr(value, name)
        return any(hasattr(kind, name) for kind in _RECEIVERS) or _some_class_has(name)
    return hasattr(receiver, name)


def _some_class_has(name: str) -> bool:
    """Whether any class of this process has an attribute `name`: a value of unknown type may be one of its objects."""
    waiting, seen = cast("list[type[Any]]", [object]), set[type[Any]]()
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        if name in vars(found):
            return True
        waiting.extend(type.__subclasses__(found))
    return False


def _attribute(owner: nn.Module, path: str) -> object:
    found: object = owner
    for name in path.split("."):
        found = getattr(found, name, _MISSING)
        if found is _MISSING:
            return _MISSING
    return found


def _attribute_problems(row: NodeRow, value: object) -> Iterator[Problem]:
    if value is _MISSING:
        kind = "module" if row.op == "call_module" else "attribute"
        yield Problem("target", row.node, f"{row.name!r} refers to the {kind} {row.target!r}, which does not exist.")
    elif row.op == "call_module" and not isinstance(value, nn.Module):
        text = f"{row.name!r} calls {row.target!r}, which is a {type(value).__name__}, not a module."
        yield Problem("target", row.node, text)
    elif row.op == "call_module":
        name = f"the forward of {type(value).__name__}"
        yield from _argument_problems(row, parameters_of_forward(cast("nn.Module", value)), name)


def _argument_problems(row: NodeRow, parameters: Parameters | None, name: str) -> Iterator[Problem]:
    if parameters is None:
        return
    if parameters.keywords is not None:
        for unknown in [name for name in row.kwargs if name not in parameters.keywords]:
            yield Problem("argument", row.node, f"{row.name!r} passes {unknown!r}, which {name} does not take.")
    if not parameters.has_required(len(row.args), row.kwargs):
        given = len(row.args) + len(row.kwargs)
        yield Problem("argument", row.node, f"{row.name!r} passes {given} arguments; {name} needs more.")
    if parameters.most_positional is not None and len(row.args) > parameters.most_positional:
        text = f"{row.name!r} passes {len(row.args)} positional arguments; {name} takes {parameters.most_positional}."
        yield Problem("argument", row.node, text)
