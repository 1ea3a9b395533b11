"""Functions that make a node when they are called with a proxy, while a model is traced; each is wrapped once a process.

`torch.fx` makes the wrappers anew for each trace: those of `math` and `torchvision.ops`, and one for each function that
any package has given to `torch.fx.wrap`. That is a third of the time that the trace of a small model takes.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from torch.fx import _symbolic_trace as torch_trace

from fxpasses.capture.patching import replaced

# How `torch.fx` knows its own wrappers, which are not to be wrapped again.
_IS_WRAPPER = "__fx_already_patched"


@contextmanager
def recorded_whole(modules: Iterable[ModuleType], function_ids: Collection[int]) -> Generator[None]:
    """Lets each of these functions of these Python modules make a node, and each that was given to `torch.fx.wrap`."""
    with ExitStack() as stack:
        for namespace in map(vars, modules):
            functions = {
                name: value
                for name, value in namespace.items()
                if id(value) in function_ids and not name.startswith("_") and not hasattr(value, _IS_WRAPPER)
            }
            wrapped = {name: _wrapped(value) for name, value in functions.items()}
            stack.enter_context(replaced({0: namespace}, wrapped))
        stack.enter_context(replaced({0: torch_trace.__dict__}, {"_patch_wrapped_functions": _patch_wrapped_functions}))
        yield


def _patch_wrapped_functions(patcher: torch_trace._Patcher) -> None:
    for (_, name), namespace in torch_trace._wrapped_fns_to_patch.copy().items():
        function = namespace[name] if name in namespace else getattr(builtins, name)
        if not hasattr(function, _IS_WRAPPER):
            patcher.patch(namespace, name, _wrapped(function))
    for kind, name in torch_trace._wrapped_methods_to_patch:
        patcher.patch_method(kind, name, torch_trace._create_wrapped_method(kind, name))


@functools.lru_cache(maxsize=4096)
def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    wrapper = torch_trace._create_wrapped_func(function)
    setattr(wrapper, _IS_WRAPPER, True)
    return wrapper
