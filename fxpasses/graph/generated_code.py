"""What `torch.fx` remembers of generated code, forgotten with the graph module that it was generated for."""

from __future__ import annotations

import weakref
from typing import Any

from torch.fx import _symbolic_trace as torch_trace


def forget_with(owner: object, namespace: dict[str, Any]) -> None:
    """Lets the functions that generated code gives to `torch.fx.wrap` be forgotten once `owner` is gone.

    The code of a graph does so for each function that its trace found wrapped. `torch.fx` keeps the namespace of the
    code for as long as the process lives, and every later trace looks into it: a process that makes extractors again
    and again would get slower with each.

    Args:
        owner: The graph module.
        namespace: The globals of its `forward`.
    """
    keys = [key for key in torch_trace._wrapped_fns_to_patch if key[0] == id(namespace)]
    if keys:
        weakref.finalize(owner, _forget, keys).atexit = False


def _forget(keys: list[tuple[int, str]]) -> None:
    for key in keys:
        torch_trace._wrapped_fns_to_patch.pop(key, None)
