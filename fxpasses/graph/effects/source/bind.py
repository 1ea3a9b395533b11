"""Binds the arguments of a call to the parameters of the function that is called, for code that is only read."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType

from fxpasses.graph.effects.source.memory import NUMBER, Unreadable, Value, join, value_of_constant

MakeContainer = Callable[[Value, object], Value]


def bind(
    function: FunctionType,
    definition: ast.FunctionDef,
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
    spread: bool,
    container: MakeContainer,
    site: object,
) -> dict[str, Value]:
    """Returns the value of each parameter.

    Args:
        function: The function that is called; its defaults are used.
        definition: Its syntax tree.
        args: What is passed by position.
        kwargs: What is passed by keyword.
        spread: Whether any number of further arguments like these may be passed.
        container: Makes the value of a tuple or dict that holds what it is given.
        site: Where the call is.

    Raises:
        Unreadable: The call does not fit the parameters.
    """
    spec = definition.args
    positional = [each.arg for each in (*spec.posonlyargs, *spec.args)]
    keyword_only = [each.arg for each in spec.kwonlyargs]
    if spread:
        return _bind_anything(
            spec, [*positional, *keyword_only], join([*args, *kwargs.values(), NUMBER]), container, site
        )
    names = _defaults(function, positional)
    names.update(zip(positional, args, strict=False))
    names.update({key: value for key, value in kwargs.items() if key in positional or key in keyword_only})
    _bind_rest(spec, names, args[len(positional) :], _surplus(kwargs, names), container, site)
    if any(name not in names for name in (*positional, *keyword_only)):
        raise Unreadable(f"the call does not fit the parameters of {function.__qualname__}")
    return names


def _defaults(function: FunctionType, positional: Sequence[str]) -> dict[str, Value]:
    defaults = function.__defaults__ or ()
    named = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    return {name: value_of_constant(value) for name, value in {**named, **(function.__kwdefaults__ or {})}.items()}


def _surplus(kwargs: Mapping[str, Value], names: Mapping[str, Value]) -> list[Value]:
    return [value for key, value in kwargs.items() if key not in names]


def _bind_rest(
    spec: ast.arguments,
    names: dict[str, Value],
    args: Sequence[Value],
    kwargs: Sequence[Value],
    container: MakeContainer,
    site: object,
) -> None:
    if (args and not spec.vararg) or (kwargs and not spec.kwarg):
        raise Unreadable("a call passes more than its function takes")
    if spec.vararg:
        names[spec.vararg.arg] = container(join([*args, NUMBER]), (site, "args"))
    if spec.kwarg:
        names[spec.kwarg.arg] = container(join([*kwargs, NUMBER]), (site, "kwargs"))


def _bind_anything(
    spec: ast.arguments, parameters: Sequence[str], anything: Value, container: MakeContainer, site: object
) -> dict[str, Value]:
    loose = Value(anything.regions)
    names = dict.fromkeys(parameters, loose)
    for rest in (spec.vararg, spec.kwarg):
        if rest:
            names[rest.arg] = container(loose, (site, rest.arg))
    return names
