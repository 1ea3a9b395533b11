"""The passes that a pipeline's text can name: those that packages register under an entry point."""

from __future__ import annotations

import difflib
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from fxpasses.errors import PipelineSyntaxError
from fxpasses.graph.facts import Fact

ENTRY_POINT_GROUP = "fxpasses.passes"
"""The group under which a package registers its passes, each as `kebab-case-name = "module:Class"`."""


def registered_names() -> list[str]:
    """Returns the names of all registered passes, sorted; imports none of them."""
    return sorted(_registered())


def registered_pass(name: str) -> type[Any]:
    """Imports and returns the pass that is registered as `name`.

    Raises:
        PipelineSyntaxError: No installed package registers that name.
    """
    found = _registered()
    if name in found:
        return cast("type[Any]", found[name].load())
    near = difflib.get_close_matches(name, found) or sorted(found)
    raise PipelineSyntaxError(
        f"No pass is registered as {name!r}. "
        + (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"A package registers its passes under the entry point group {ENTRY_POINT_GROUP!r}."
    )


def registered_name(pass_class: type[Any]) -> str | None:
    """Returns the name under which a class is registered, or None; imports nothing."""
    reference = f"{pass_class.__module__}:{pass_class.__qualname__}"
    return next((name for name, entry in _registered().items() if entry.value == reference), None)


def providers_of(fact: Fact) -> list[str]:
    """Returns the names of the registered passes that provide `fact`; one that cannot be imported is left out."""
    names: list[str] = []
    for name, entry in sorted(_registered().items()):
        try:
            provides = getattr(entry.load(), "provides", frozenset[Fact]())
        except Exception:  # another package's failing import is not what the caller's error is about
            continue
        if fact in provides:
            names.append(name)
    return names


def _registered() -> dict[str, EntryPoint]:
    return _registered_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _registered_on(_: tuple[str, ...]) -> dict[str, EntryPoint]:
    # Reads a file of every installed package, so it is done once for each place where packages can be.
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
