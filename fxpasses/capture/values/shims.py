"""Functions that would not notice a proxy, replaced while a value capture runs by ones that do.

`isinstance` is replaced in the globals of the traced code alone: a proxy that lied about its class would crash
the argument parser of torch. The factories of tensors (`torch.zeros` and its like) take numbers, which nothing
would record; they are replaced in the namespace of torch, and pass every other call through.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from fxpasses.capture.values.proxies import ValueProxy

if TYPE_CHECKING:
    from fxpasses.capture.value_tracer import ValueTracer

FACTORIES = (
    "arange as_tensor asarray broadcast_shapes empty empty_strided eye full linspace logspace ones rand randint randn "
    "randperm scalar_tensor tensor tril_indices triu_indices zeros"
).split()
NEW_EVERY_TIME = frozenset({"empty", "empty_strided", "rand", "randint", "randn", "randperm"})
"""Factories whose result is another one at each call, so that it must not become a constant."""

SIZED_METHODS = ("expand", "new_empty", "new_ones", "new_zeros", "repeat", "reshape", "tile", "view")
COMPILER_MARKS = ("mark_dynamic", "mark_static", "mark_static_address", "maybe_mark_dynamic")


def let_torch_look_up_its_functions() -> None:
    """Fills what torch remembers of its own functions, by name, before other functions have those names."""
    _device_constructors()
    torch.overrides.is_tensor_method_or_property(torch.relu)


def shims(tracer: ValueTracer) -> list[tuple[dict[str, Any], dict[str, Callable[..., Any]]]]:
    """Returns the namespaces of torch in which names are to be replaced, each with the replacements."""
    factories = {name: _factory(tracer, name, getattr(torch, name)) for name in FACTORIES}
    replacements: list[tuple[Any, dict[str, Callable[..., Any]]]] = [
        (vars(torch), {**factories, "is_tensor": lambda obj: isinstance_of_value(obj, torch.Tensor)})
    ]
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        marks = {name: _mark(getattr(dynamo, name)) for name in COMPILER_MARKS if hasattr(dynamo, name)}
        replacements.append((vars(dynamo), marks))
    return replacements


def _mark(original: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that marks tensors for a compiler, and does nothing to a proxy."""

    @functools.wraps(original)
    def mark(value: Any, *args: Any, **kwargs: Any) -> Any:
        return None if builtins.isinstance(value, ValueProxy) else original(value, *args, **kwargs)

    return mark


@contextmanager
def methods_that_take_sizes(tracer: ValueTracer) -> Generator[None]:
    """Lets methods of real tensors be recorded where a size is a proxy, which torch's argument parser refuses."""
    for name in SIZED_METHODS:
        setattr(torch.Tensor, name, _sized_method(tracer, name, getattr(torch.Tensor, name)))
    try:
        yield
    finally:
        for name in SIZED_METHODS:
            delattr(torch.Tensor, name)


def _sized_method(tracer: ValueTracer, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if tracer.stands_aside() or not holds_proxy(args, kwargs):
            return original(self, *args, **kwargs)
        return tracer.create_proxy("call_method", name, (self, *args), kwargs)

    return method


def isinstance_of_value(obj: Any, classes: Any) -> bool:
    """Answers `isinstance` for a proxy from the value of its node, and as ever for everything else."""
    if not builtins.isinstance(obj, ValueProxy):
        return builtins.isinstance(obj, classes)
    return builtins.isinstance(obj, classes) or obj.tracer.is_instance(obj, classes)


def holds_proxy(*arguments: Any) -> bool:
    """Whether a proxy is among the arguments or inside containers of them."""
    found: list[Any] = []
    map_aggregate(arguments, lambda leaf: found.append(leaf) if builtins.isinstance(leaf, ValueProxy) else leaf)
    return bool(found)


def _factory(tracer: ValueTracer, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:
        if tracer.stands_aside():
            return original(*args, **kwargs)
        if name in NEW_EVERY_TIME or holds_proxy(args, kwargs) or tracer.reads.has_device(args, kwargs):
            return tracer.create_proxy("call_function", original, args, kwargs)
        return original(*args, **kwargs)

    return factory


def traced_namespaces(model: nn.Module) -> dict[int, dict[str, Any]]:
    """Returns the globals of the code that a trace of `model` may run, by their id, without torch's own.

    These are the Python modules of the packages that the model's classes come from, and of the packages that
    the modules of those classes import from.
    """
    homes = [sys.modules.get(kind.__module__) for kind in _classes(model)]
    packages = {package for home in homes if home is not None for package in _packages_in(home)}
    found = {id(vars(home)): vars(home) for home in homes if home is not None and not _of_torch(home.__name__)}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages and builtins.isinstance(module, ModuleType):
            found[id(vars(module))] = vars(module)
    for module in model.modules():
        namespace = _globals_of_forward(module)
        if namespace is not None and not _of_torch(str(namespace.get("__name__"))):
            found[id(namespace)] = namespace
    return {key: namespace for key, namespace in found.items() if "isinstance" not in namespace}


def _classes(model: nn.Module) -> set[type]:
    return {kind for module in model.modules() for kind in type(module).__mro__}


def _packages_in(module: ModuleType) -> Iterator[str]:
    for name in (module.__name__, *(str(getattr(value, "__module__", "")) for value in list(vars(module).values()))):
        package = name.partition(".")[0]
        if package and package not in sys.stdlib_module_names and package not in ("torch", "numpy", "fxpasses"):
            yield package


def _of_torch(name: str) -> bool:
    return name.partition(".")[0] in ("torch", "builtins", "fxpasses")


def _globals_of_forward(module: nn.Module) -> dict[str, Any] | None:
    function = getattr(module.forward, "__func__", module.forward)
    return function.__globals__ if builtins.isinstance(function, FunctionType) else None


class RecordsRealReceivers(TorchFunctionMode):
    """Records a torch function whose only proxies are in places that torch reads as plain numbers.

    An example is `mask.expand(batch, -1)` on a tensor that the forward made itself.
    """

    def __init__(self, tracer: ValueTracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Passes the call on, or records it."""
        kwargs = kwargs or {}
        if self._tracer.stands_aside() or any(issubclass(each, ValueProxy) for each in types):
            return func(*args, **kwargs)
        if not (
            holds_proxy(args, kwargs)
            or self._tracer.was_written(args, kwargs)
            or self._tracer.reads.has_device(args, kwargs)
        ):
            return func(*args, **kwargs)
        return self._tracer.record_torch_function(func, args, kwargs)
