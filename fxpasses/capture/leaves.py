"""Which modules a capture does not trace into, and which functions it records whole."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, cast

from torch import nn

from fxpasses.errors import ArgumentTypeError

_TRACER_OPTIONS = ("autowrap_functions", "autowrap_modules", "leaf_modules", "param_shapes_constant")


@functools.cache
def default_leaf_modules() -> tuple[type[nn.Module], ...]:
    """Returns the module classes of `torchvision.ops`, in alphabetical order: leaves unless said otherwise."""
    import torchvision.ops  # a slow import, and not needed to import fxpasses

    members = inspect.getmembers(torchvision.ops, inspect.isclass)
    return tuple(member for _, member in members if issubclass(member, nn.Module))


def default_autowrap_modules() -> tuple[ModuleType, ...]:
    """Returns the Python modules whose functions are recorded whole: `math` and `torchvision.ops`."""
    import torchvision.ops

    return (math, torchvision.ops)


def tracer_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Completes the options of a tracer with the default leaves; the given mapping is not changed.

    Args:
        options: `leaf_modules`, `autowrap_modules` and `autowrap_functions` as any iterable, and
            `param_shapes_constant`; None for the defaults alone.

    Raises:
        ArgumentTypeError: An unknown option, or a leaf that is not a module class.

    Example:
        >>> options = tracer_options({"leaf_modules": [nn.Sequential]})
        >>> nn.Sequential in options["leaf_modules"], len(options["leaf_modules"]) > 1
        (True, True)
    """
    given = dict(options or {})
    unknown = sorted(set(given) - set(_TRACER_OPTIONS))
    if unknown:
        raise ArgumentTypeError(
            f"Unknown tracer option {', '.join(map(repr, unknown))}; a tracer takes {', '.join(_TRACER_OPTIONS)}."
        )
    leaf_modules = checked_leaf_classes(given.get("leaf_modules", ()))
    given["leaf_modules"] = _unique((*leaf_modules, *default_leaf_modules()))
    given["autowrap_modules"] = _unique((*given.get("autowrap_modules", ()), *default_autowrap_modules()))
    given["autowrap_functions"] = tuple(given.get("autowrap_functions", ()))
    return given


def checked_leaf_classes(leaf_modules: Iterable[object]) -> tuple[type[nn.Module], ...]:
    """Returns `leaf_modules` as a tuple.

    Raises:
        ArgumentTypeError: It is not an iterable of subclasses of `nn.Module`; a single class is an error too.
    """
    if isinstance(leaf_modules, type) or not isinstance(leaf_modules, Iterable):
        raise ArgumentTypeError(f"leaf_modules={leaf_modules!r}: give a list or tuple of module classes.")
    classes = tuple(leaf_modules)
    for leaf in classes:
        if not (isinstance(leaf, type) and issubclass(leaf, nn.Module)):
            hint = f"; did you mean its class, {type(leaf).__name__}?" if isinstance(leaf, nn.Module) else "."
            raise ArgumentTypeError(f"leaf_modules holds {leaf!r}, which is not a class of modules{hint}")
    return cast("tuple[type[nn.Module], ...]", classes)


def is_leaf_class(kind: type[nn.Module], leaf_modules: tuple[type[nn.Module], ...] = ()) -> bool:
    """Whether a module of class `kind` is a leaf: one of `leaf_modules`, or a layer of torch, not a `Sequential`.

    Example:
        >>> is_leaf_class(nn.Linear), is_leaf_class(nn.Sequential)
        (True, False)
    """
    if issubclass(kind, leaf_modules):
        return True
    return kind.__module__.startswith(("torch.nn", "torch.ao.nn")) and not issubclass(kind, nn.Sequential)


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
