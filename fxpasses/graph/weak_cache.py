"""`weakly_cached`: remembers what was found out about a class or a function, for as long as somebody else has it."""

from __future__ import annotations

import functools
from collections.abc import Callable, MutableMapping
from typing import TypeVar
from weakref import WeakKeyDictionary

Key = TypeVar("Key")
Found = TypeVar("Found")

_MISSING = object()


def weakly_cached(function: Callable[[Key], Found]) -> Callable[[Key], Found]:
    """Makes `function` compute once for each key, and keep no key alive.

    `functools.lru_cache` would keep the latest classes of a process, with all that their modules hold: models that are
    made and dropped by the thousand, as a property test does, then slow down all that visits the subclasses of
    `nn.Module`, which each assignment to it does.

    Args:
        function: Takes one hashable argument; what it returns must not refer to it.

    Returns:
        A function that gives the same results. A key that nothing can refer to weakly is computed each time.

    Example:
        >>> @weakly_cached
        ... def doubled(kind):
        ...     print("computing")
        ...     return kind.__name__ * 2
        >>> doubled(int), doubled(int)
        computing
        ('intint', 'intint')
    """
    known: MutableMapping[Key, Found | object] = WeakKeyDictionary()

    @functools.wraps(function)
    def cached(key: Key) -> Found:
        try:
            found = known.get(key, _MISSING)
        except TypeError:  # no weak reference to it can be made
            return function(key)
        if found is _MISSING:
            found = known[key] = function(key)
        return found  # pyright: ignore[reportReturnType] # only what `function` returned is in there

    return cached
