"""`Rebuilt`: how a graph makes an object of any class anew, with the values of its own nodes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

from torch import nn

_DEEPEST = 12


class _Slot(NamedTuple):
    """Stands for the value of a node in a template."""

    place: int


class _Emptied(NamedTuple):
    """Stands for an object that holds values of nodes."""

    kind: type
    attributes: dict[str, Any]


class Rebuilt:
    """A function from the values of nodes to an object of the class that the traced code made.

    A cache of keys and values in the output of a model is an example. What is not a value of the graph is shared
    with the object that the traced code made.

    Example:
        >>> class Box: ...
        >>> box = Box()
        >>> box.content, box.label = [1.5, 2.5], "numbers"
        >>> found = take_apart(box, lambda leaf: isinstance(leaf, float))
        >>> make, values = found
        >>> values
        [1.5, 2.5]
        >>> again = make(3.5, 4.5)
        >>> type(again).__name__, again.content, again.label
        ('Box', [3.5, 4.5], 'numbers')
    """

    def __init__(self, template: Any, kind: type) -> None:
        self._template = template
        self.__name__ = kind.__name__
        self.__module__ = kind.__module__
        self.__qualname__ = kind.__qualname__

    def __call__(self, *values: Any) -> Any:
        """Makes the object."""
        return _filled(self._template, values)


def take_apart(value: Any, is_value: Callable[[Any], bool]) -> tuple[Rebuilt, list[Any]] | None:
    """Splits an object into a function that rebuilds it and the values that this function takes.

    Args:
        value: The object.
        is_value: Tells which of the things that it holds, at any depth, become arguments.

    Returns:
        None if the object holds none.
    """
    found: list[Any] = []

    def emptied(part: Any, depth: int) -> Any:
        if is_value(part):
            found.append(part)
            return _Slot(len(found) - 1)
        if depth > _DEEPEST:
            return part
        if isinstance(part, (list, tuple)) and not hasattr(part, "_fields"):
            items = [emptied(each, depth + 1) for each in cast("Sequence[Any]", part)]
            return items if isinstance(part, list) else tuple(items)
        if type(part) is dict:
            return {key: emptied(each, depth + 1) for key, each in part.items()}
        if isinstance(part, (type, FunctionType, ModuleType, nn.Module)) or not hasattr(part, "__dict__"):
            return part
        before = len(found)
        attributes = {name: emptied(each, depth + 1) for name, each in vars(part).items()}
        return _Emptied(type(part), attributes) if len(found) > before else part

    template = emptied(value, 0)
    return (Rebuilt(template, type(value)), found) if found else None


def _filled(template: Any, values: Sequence[Any]) -> Any:
    if isinstance(template, _Slot):
        return values[template.place]
    if isinstance(template, _Emptied):
        made = cast("Any", template.kind).__new__(template.kind)
        made.__dict__.update({name: _filled(each, values) for name, each in template.attributes.items()})
        return made
    if type(template) in (list, tuple):
        return type(template)([_filled(each, values) for each in cast("Sequence[Any]", template)])
    if type(template) is dict:
        return {key: _filled(each, values) for key, each in cast("Mapping[Any, Any]", template).items()}
    return template
