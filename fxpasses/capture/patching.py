"""What a capture changes in the process while it runs: one capture at a time, and everything put back."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

_MISSING = object()
_one_at_a_time = threading.RLock()


@contextmanager
def one_capture_at_a_time() -> Generator[None]:
    """Waits until no other thread captures; the same thread may nest captures.

    `torch.fx` replaces `nn.Module.__call__` and the globals of traced functions for the whole process, and a
    capture switches modes of a model that another capture may be about to look at.
    """
    with _one_at_a_time:
        yield


@contextmanager
def without_collecting() -> Generator[None]:
    """Keeps Python from looking for garbage while its block runs, if it does so at all.

    A graph is made of objects that all live until it is finished. Looking through them again and again finds nothing,
    and takes a third of the time that a large graph takes.

    Example:
        >>> with without_collecting():
        ...     gc.isenabled()
        False
        >>> gc.isenabled()
        True
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def replaced(namespaces: Mapping[int, dict[str, Any]], entries: Mapping[str, Callable[..., Any]]) -> Generator[None]:
    """Puts `entries` into each namespace for the duration of the block; what was there comes back, whatever happens.

    Args:
        namespaces: The dictionaries to change, by their id.
        entries: The new values. A name that a namespace already has is left alone if it is absent from `builtins`.

    Example:
        >>> namespace = {"len": len}
        >>> with replaced({id(namespace): namespace}, {"len": sum, "abs": max}):
        ...     namespace["len"] is sum, namespace["abs"] is max
        (True, True)
        >>> namespace == {"len": len}
        True
    """
    before = [(namespace, name, namespace.get(name, _MISSING)) for namespace in namespaces.values() for name in entries]
    try:
        for namespace in namespaces.values():
            namespace.update(entries)
        yield
    finally:
        for namespace, name, value in before:
            if value is not _MISSING:
                namespace[name] = value
            elif name in namespace:
                del namespace[name]
