"""Passes as text: the pass that a text stands for, and the text that stands for a pass."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any, cast

from fxpasses.errors import PipelineSyntaxError
from fxpasses.manager.contract import PassLike
from fxpasses.manager.execution import Composite
from fxpasses.manager.registry import registered_name, registered_pass
from fxpasses.manager.text.grammar import PassText
from fxpasses.manager.text.values import entries_text, import_path, imported, text_of, unwritable, value_of

_SEQUENCES = (tuple, list, frozenset, set)


def pass_of(text: PassText, composites: Mapping[str, type[Any]]) -> PassLike:
    """Returns the pass that `text` stands for.

    Args:
        text: The pass as it is written.
        composites: The classes of passes that are made of passes, by name; their first argument is those.

    Raises:
        PipelineSyntaxError: There is no such pass, or it does not take these options.
    """
    if text.name in composites:
        inside = [pass_of(each, composites) for each in text.inside or ()]
        return composites[text.name](inside, **_arguments(composites[text.name], text))
    if text.inside is not None:
        names = " and ".join(composites)
        raise PipelineSyntaxError(f"{text.name} takes no passes in parentheses; only {names} do.")
    found = imported(text.name) if "." in text.name else registered_pass(text.name)
    if isinstance(found, type):
        return found(**_arguments(found, text))
    if text.options:
        raise PipelineSyntaxError(f"{text.name} is a function, which takes no options; got {', '.join(text.options)}.")
    return cast("PassLike", found)


def _arguments(pass_class: type[Any], text: PassText) -> dict[str, object]:
    parameters = inspect.signature(pass_class).parameters
    hints = _hints(pass_class)
    known = {name: value_of(value) for name, value in text.options.items() if name in parameters}
    rest = {name: value_of(value) for name, value in text.options.items() if name not in parameters}
    if rest:
        target = next(iter(parameters), "")
        if target in known or not _takes_mapping(hints.get(target)):
            raise PipelineSyntaxError(_unknown_option(text.name, next(iter(rest)), parameters))
        known[target] = rest
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and name not in known
        and name != "passes"
        and not _is_variadic(parameter)
    ]
    if missing:
        raise PipelineSyntaxError(f"{text.name} needs the option {missing[0]!r}.")
    return {name: _fitted(value, hints.get(name)) for name, value in known.items()}


def _unknown_option(name: str, option: str, parameters: Iterable[str]) -> str:
    near = difflib.get_close_matches(option, parameters)
    takes = f"Did you mean {near[0]!r}?" if near else f"It takes: {', '.join(parameters) or 'none'}."
    return f"{name} has no option {option!r}. {takes}"


def _is_variadic(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _fitted(value: object, hint: object) -> object:
    """Makes a single value a list where only a list is expected, and a list what is expected in its place."""
    kinds = _kinds(hint)
    sequences = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Iterable) and kind is not str]
    if not sequences:
        return value
    if not isinstance(value, (list, dict)) and value is not None and not any(_is_scalar(kind) for kind in kinds):
        value = [value]
    wanted = next((kind for kind in _SEQUENCES if kind in sequences), tuple)
    if isinstance(value, list):
        return _converted(cast("list[object]", value), wanted)
    return value


def _converted(items: list[object], wanted: Callable[[Iterable[object]], object]) -> object:
    return wanted(_converted(cast("list[object]", item), wanted) if isinstance(item, list) else item for item in items)


def _is_scalar(kind: object) -> bool:
    return kind is str or not isinstance(kind, type) or not issubclass(kind, Iterable)


def _kinds(hint: object) -> list[object]:
    """Returns the classes that an annotation allows: `tuple[int, ...] | None` gives tuple and NoneType."""
    if hint is None:
        return []
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part) if kind is not types.NoneType]
    return [origin or hint]


def _takes_mapping(hint: object) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, Mapping) for kind in _kinds(hint))


def _hints(pass_class: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(pass_class.__init__)
    except Exception:  # an annotation that only a type checker can resolve: nothing is known then
        return {}


def text_of_pass(pass_: object) -> str:
    """Returns the text that stands for a pass; a name in `<>` if it is none that can be imported.

    Example:
        >>> text_of_pass(text_of_pass), text_of_pass(lambda graph_module: None)
        ('fxpasses.manager.text.passes.text_of_pass', '<lambda>')
    """
    path = import_path(pass_)
    if path is not None:
        return path
    if isinstance(pass_, Composite):
        return f"{pass_.text_name}{_options_text(pass_)}({', '.join(map(text_of_pass, pass_.passes))})"
    name = None if hasattr(pass_, "__name__") else _name_of(type(pass_))
    return unwritable(pass_) if name is None else name + _options_text(pass_)


def _name_of(pass_class: type[Any]) -> str | None:
    return registered_name(pass_class) or import_path(pass_class)


def _options_text(pass_: object) -> str:
    """Returns the options that differ from their defaults, in braces if there are any."""
    parameters = inspect.signature(type(pass_)).parameters
    hints = _hints(type(pass_))
    parts: list[str] = []
    for name, parameter in parameters.items():
        if _is_variadic(parameter) or name in ("passes", "instruments"):
            continue
        value = getattr(pass_, name, parameter.default)
        if not _is_default(value, _default(type(pass_), parameter)):
            parts.append(_option_text(name, value, hints.get(name), parameters))
    return "{" + ", ".join(parts) + "}" if parts else ""


def _option_text(name: str, value: Any, hint: object, parameters: Mapping[str, object]) -> str:
    entries = _as_mapping(value) if _takes_mapping(hint) else None
    if entries is None:
        is_single = isinstance(value, _SEQUENCES) and len(cast("list[Any]", value)) == 1
        item = next(iter(value)) if is_single else value
        fits = not isinstance(item, (*_SEQUENCES, Mapping)) and _fitted(item, hint) is not item
        return f"{name}={text_of(item if fits else value)}"
    first = next(each for each in parameters)
    if name == first and entries and not any(key in parameters for key in entries):
        return entries_text(entries)
    return f"{name}={text_of(entries)}"


def _as_mapping(value: Any) -> Mapping[str, object] | None:
    """Returns a mapping that was given, or that was stored as pairs."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value)
    is_pairs = isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(cast("tuple[object, ...]", pair)) == 2
        for pair in cast("tuple[object, ...]", value)
    )
    return dict(value) if is_pairs else None


def _default(pass_class: type[Any], parameter: inspect.Parameter) -> object:
    made = getattr(pass_class, "__dataclass_fields__", {}).get(parameter.name)
    if made is not None and made.default_factory is not MISSING:
        return made.default_factory()
    return parameter.default


def _is_default(value: object, default: object) -> bool:
    try:
        return value is default or bool(value == default)
    except Exception:  # whatever a value's `__eq__` raises: it did not say that they are equal
        return False
