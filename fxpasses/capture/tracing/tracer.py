"""`CaptureTracer`: an `fx.Tracer` that records what each module call took and returned.

It traces what `fx.Tracer` traces and makes the same nodes, with three differences: nothing is ever stored on
the model, buffers are read through `get_attr` nodes instead of being folded into constants, and an augmented
assignment such as `y += 1` is recorded as one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.node import base_types
from torch.fx.proxy import Attribute

from fxpasses.capture.tracing.assignments import recorded_assignment
from fxpasses.capture.tracing.fast_tracer import FastTracer
from fxpasses.capture.tracing.losses import LossRecorder
from fxpasses.capture.tracing.mode_reads import watch_is_blind, watched_training_flag
from fxpasses.capture.tracing.module_hooks import Assign
from fxpasses.capture.tracing.proxies import PLAIN_OPERATOR, BufferProxy, RecordingProxy
from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque, map_structure
from fxpasses.graph.module_tree import ModuleTree
from fxpasses.graph.numbers import makes_number


@dataclass
class _OpenCall:
    """A module call while the trace is under way: its structures still hold proxies."""

    path: str
    index: int
    module_type: type[nn.Module]
    args: Any
    kwargs: Any
    after: fx.Node | None
    parent: str | None
    output: object = Opaque("a call that did not return")
    until: fx.Node | None = None


class CaptureTracer(FastTracer):
    """Traces one model once, in the mode in which it is.

    Args:
        leaf_modules: Classes of modules that become one `call_module` node each, besides those of `torch.nn`.
        autowrap_modules: Python modules whose functions become one `call_function` node each.
        autowrap_functions: Further such functions.
        param_shapes_constant: Whether the shape of a parameter is a constant of the graph.
    """

    def __init__(
        self,
        leaf_modules: Iterable[type[nn.Module]] = (),
        autowrap_modules: tuple[ModuleType, ...] = (),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        super().__init__(tuple(autowrap_modules), tuple(autowrap_functions), param_shapes_constant)
        self.leaf_modules = tuple(leaf_modules)
        self.constants: dict[str, torch.Tensor] = {}
        self._calls: list[_OpenCall] = []
        self.tree = ModuleTree({}, {})
        self._tensor_paths: dict[int, str] = {}
        self._thread = threading.get_ident()
        self._mode_readers: dict[nn.Module, None] = {}
        self._leaf_kinds: dict[type[nn.Module], bool] = {}
        self._known_numbers: dict[fx.Node, bool] = {}
        self.losses = LossRecorder()

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """Traces `root`; see `fx.Tracer.trace`."""
        if isinstance(root, nn.Module):
            self.tree = ModuleTree.of(root)
            self._tensor_paths = _first_paths(self.tree.parameters()) | _first_paths(self.tree.buffers())
            self.losses.see_hooks("", root)
        self._thread = threading.get_ident()
        with watched_training_flag(self):
            graph = super().trace(root, concrete_args)
        self.losses.see_end(("", type(root)))
        return graph

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        """Makes a node, and notes it if it runs under settings that the graph does not carry over."""
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if self.losses.outside_of_usual():
            self.losses.see_node(self.running_module(), node)
        return node

    def seen_assignment(self, assign: Assign) -> Assign:
        """Returns what takes the place of `assign`: it records what is assigned to a buffer, and notes anything else."""
        return recorded_assignment(self, assign)

    def sees_mode_read(self, module: nn.Module) -> None:
        """Notes that the traced code asked whether `module` is in training mode."""
        if not self.stands_aside():
            self._mode_readers[module] = None

    def mode_readers(self) -> tuple[str, ...]:
        """Returns the paths of the modules on whose mode the trace may depend; empty if no mode can matter."""
        readers = self._mode_readers
        return tuple(
            path for module, path in self.tree.paths.items() if module in readers or watch_is_blind(type(module))
        )

    def calls(self) -> tuple[ModuleCall, ...]:
        """Returns the finished trace's calls of traced-through modules, in the order in which they began."""
        return tuple(
            ModuleCall(
                call.path,
                call.index,
                call.module_type,
                cast("tuple[object, ...]", map_structure(call.args, _reference)),
                cast("dict[str, object]", map_structure(call.kwargs, _reference)),
                map_structure(call.output, _reference),
                None if call.after is None else NodeRef(call.after.name),
                call.parent,
                until=None if call.until is None else NodeRef(call.until.name),
            )
            for call in self._calls
        )

    def forget(self) -> None:
        """Lets go of what only a running trace needs; what refers to the tracer itself would wait for the collector."""
        self._calls.clear()
        self._tensor_paths.clear()
        self.node_name_to_scope.clear()
        self.tree = ModuleTree({}, {})

    def stands_aside(self) -> bool:
        """Whether what runs now is not the traced code: `torch.fx` makes every thread's module calls come here."""
        return threading.get_ident() != self._thread

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether `m` becomes one `call_module` node."""
        kind = type(m)
        if kind not in self._leaf_kinds:
            is_leaf = isinstance(m, self.leaf_modules) or super().is_leaf_module(m, module_qualified_name)
            self._leaf_kinds[kind] = is_leaf
        return self._leaf_kinds[kind]

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Records the call, and traces through `m` unless it is a leaf; an unregistered module is not recorded."""
        if self.stands_aside() or m not in (self.submodule_paths or {}):
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        # Lists and dicts may be changed by the callee, or later by the caller: keep what they hold now.
        call = _OpenCall(
            path,
            self.num_calls.get(path, 0),
            type(m),
            map_structure(args, _itself),
            map_structure(kwargs, _itself),
            self.last_node,
            next(reversed(self.module_stack), None),
        )
        self._calls.append(call)
        self.losses.see_hooks(path, m)
        output = super().call_module(m, forward, args, kwargs)
        call.output = map_structure(output, _itself)
        call.until = self.last_node
        return output

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Wraps `node` in a proxy that records augmented assignments."""
        return RecordingProxy(node, self)

    def tensor_proxy(self, node: fx.Node, tensor: torch.Tensor) -> fx.Proxy:
        """Wraps the `get_attr` node of a tensor whose shape is a constant of the graph."""
        return BufferProxy(node, self, tensor)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:  # noqa: ARG002 - the base's signature
        """Returns a proxy for a parameter or buffer of the model, made once a trace; anything else as it is."""
        if not isinstance(attr_val, torch.Tensor) or self.stands_aside():
            return attr_val
        path = self._tensor_paths.get(id(attr_val))
        if path is None:
            return attr_val
        if isinstance(attr_val, nn.Parameter):
            return self._parameter_proxy(path, attr_val, parameter_proxy_cache)
        if path not in parameter_proxy_cache:
            node = self.create_node("get_attr", path, (), {})
            parameter_proxy_cache[path] = self.tensor_proxy(node, attr_val)
        return parameter_proxy_cache[path]

    def create_unusual_arg(self, a: Any) -> Any:
        """Turns a Python value into an argument of a node, without storing anything on the model."""
        if isinstance(a, torch.Tensor):
            return self._tensor_node(a)
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            # A named tuple is a container like any other: no node is spent on building it.
            return cast("Callable[..., Any]", type(a))(*(self.create_arg(item) for item in cast("tuple[Any, ...]", a)))
        return super().create_unusual_arg(a)

    def augmented(self, target: Callable[..., Any], proxy: fx.Proxy, other: Any) -> fx.Proxy:
        """Records `proxy <op>= other` as the in-place operator `target`.

        A Python number is never changed in place. The generated code would assign to its variable, which a
        second name may still stand for, so for numbers the plain operator is recorded.
        """
        recorded = PLAIN_OPERATOR[target] if makes_number(proxy.node, self._known_numbers) else target
        return self.create_proxy("call_function", recorded, (proxy, other), {})

    def assign_buffer(self, module: nn.Module, name: str, value: fx.Proxy) -> None:
        """Records `module.name = value`, where `name` is a buffer, as a write into the buffer."""
        buffer = getattr(module, name)
        written_in_place = value.node.args[:1] == (buffer.node,) and value.node.target in PLAIN_OPERATOR
        if not written_in_place:
            self.create_proxy("call_method", "copy_", (buffer, value), {})

    def _parameter_proxy(self, path: str, parameter: nn.Parameter, cache: dict[str, fx.Proxy]) -> fx.Proxy:
        if path not in cache:
            factory = (lambda node: self.tensor_proxy(node, parameter)) if self.param_shapes_constant else None
            cache[path] = self.create_proxy("get_attr", path, (), {}, proxy_factory_fn=factory)
        return cache[path]

    def _tensor_node(self, tensor: torch.Tensor) -> fx.Node:
        path = self._tensor_paths.get(id(tensor)) or self.tensor_attrs.get(tensor)
        if path is None:
            path = f"_tensor_constant{len(self.constants)}"
            while hasattr(self.root, path):
                path += "_"
            self.constants[path] = tensor
            self._tensor_paths[id(tensor)] = path
            node = self.create_node("get_attr", path, (), {})
            self.losses.see_constant(self.running_module(), node)
            return node
        return self.create_node("get_attr", path, (), {})

    def running_module(self) -> tuple[str, type[nn.Module]]:
        """Returns path and class of the module whose forward is running."""
        return next(reversed(self.module_stack.values()), ("", type(self.root)))


def _first_paths(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[int, str]:
    paths: dict[int, str] = {}
    for path, tensor in tensors:
        paths.setdefault(id(tensor), path)
    return paths


def _itself(value: object) -> object:
    return value


def _reference(value: object) -> object:
    """Replaces a proxy by a reference to its node, and what no graph can hold by a description."""
    if isinstance(value, Attribute) and value._node is None:
        return Opaque(f"the attribute {value.attr!r} of {value.root.node.name}, which nothing used")
    if isinstance(value, fx.Proxy):
        return NodeRef(value.node.name)
    if value is None or isinstance(value, base_types) or value is ...:
        return value
    return Opaque(f"an object of type {type(value).__name__}")
