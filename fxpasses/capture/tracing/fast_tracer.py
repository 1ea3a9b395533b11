"""`FastTracer`: does what `fx.Tracer` does, node for node, with less work for each."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.traceback import has_preserved_node_meta

from fxpasses.capture.tracing.module_hooks import Assign, hooked_modules
from fxpasses.capture.tracing.wrappers import recorded_whole
from fxpasses.graph.new_node import new_node

_PLAIN_TYPES = frozenset({int, float, bool, str, type(None), type(...), torch.dtype, torch.device})


class FastTracer(fx.Tracer):
    """An `fx.Tracer` that spends less on each argument, node and call.

    The nodes of one call share one `nn_module_stack`; whoever wants another one replaces it, as is usual.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_node: fx.Node | None = None
        self._stacks: dict[str, OrderedDict[str, Any]] = {}
        self._failure: Exception | None = None
        self._failed_stack: list[tuple[str, Any]] = []

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """Traces `root`; see `fx.Tracer.trace`."""
        modules, self._autowrap_search = self._autowrap_search, []
        model = root if isinstance(root, nn.Module) else None
        try:
            with hooked_modules(model, self.seen_assignment), recorded_whole(modules, self._autowrap_function_ids):
                return super().trace(root, concrete_args)
        finally:
            self._autowrap_search = modules

    def seen_assignment(self, assign: Assign) -> Assign:
        """Returns what takes the place of `assign`, the way in which attributes of modules are assigned."""
        return assign

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        """Makes a node in the call that is running."""
        if has_preserved_node_meta() or self.record_stack_traces or self.check_mutable_operations:
            self.last_node = super().create_node(kind, target, args, kwargs, name, type_expr)
            return self.last_node
        node = self.last_node = new_node(self.graph, kind, target, args, kwargs, name, type_expr)
        self.node_name_to_scope[node.name] = (self.scope.module_path, self.scope.module_type)
        if self.module_stack:
            key = next(reversed(self.module_stack))
            if key not in self._stacks:
                self._stacks[key] = self.module_stack.copy()
            node.meta["nn_module_stack"] = self._stacks[key]
        return node

    def create_arg(self, a: Any) -> Any:
        """Turns a Python value into an argument of a node; the usual kinds first."""
        kind = type(a)
        if kind in _PLAIN_TYPES:
            return a
        if isinstance(a, fx.Proxy):
            return a.node
        if kind is tuple or kind is list:
            return kind([self.create_arg(item) for item in a])
        if kind is dict and not a:
            return {}
        return self.create_unusual_arg(a)

    def create_unusual_arg(self, a: Any) -> Any:
        """Turns a value into an argument that is no plain value, no proxy and no plain container of them."""
        return super().create_arg(a)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Makes one node for a leaf, and traces through any other module."""
        path = self.path_of_module(m)
        is_leaf = self.is_leaf_module(m, path)
        index = self.num_calls.get(path, 0)
        key = f"{path}@{index}" if index else path
        outside = (self.scope.module_path, self.scope.module_type)
        self.scope.module_path, self.scope.module_type = path, type(m)
        self.module_stack[key] = (path, type(m))
        self.num_calls[path] = index + 1
        try:
            return self.create_proxy("call_module", path, args, kwargs) if is_leaf else forward(*args, **kwargs)
        except Exception as error:
            if error is not self._failure:  # the innermost call sees it first
                self._failure, self._failed_stack = error, list(self.module_stack.values())
            raise
        finally:
            self.module_stack.pop(key)
            self.scope.module_path, self.scope.module_type = outside

    def stack_of(self, error: Exception) -> list[tuple[str, Any]]:
        """Returns path and class of each module whose forward was running when `error` was raised, outermost first."""
        return self._failed_stack if error is self._failure else []


@functools.lru_cache(maxsize=4096)
def _is_method(function: Callable[..., Any]) -> bool:
    # Each call changes the filters for warnings and puts them back.
    return torch.overrides.is_tensor_method_or_property(function)


def recorded_torch_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> fx.Proxy | None:
    """Records a torch function whose first argument is a proxy; returns None for the rare kinds, which `fx` handles."""
    first = args[0] if args else None
    if isinstance(function, (torch._C.ScriptMethod, torch._ops.HigherOrderOperator)) or not isinstance(first, fx.Proxy):
        return None
    tracer = cast("fx.Tracer", first.tracer)
    if _is_method(function):
        return tracer.create_proxy("call_method", function.__name__, args, kwargs)
    # The name is made here and now: some functions have one that a graph's own rule would not find.
    name = tracer.graph._target_to_str(function.__name__)
    return tracer.create_proxy("call_function", function, args, kwargs, name)
