"""Which arguments a capture with example inputs has: those that the examples pass, and no others."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxpasses.errors import ArgumentTypeError

CONSTANT_TYPES = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.memory_format)


@dataclass(frozen=True)
class Argument:
    """One argument that the examples pass.

    Attributes:
        name: The placeholder's name: the parameter's, or `args_0`, `args_1`, … for what `*args` takes.
        value: The example.
        keyword: Whether it is passed by keyword.
    """

    name: str
    value: Any
    keyword: bool


def bound_arguments(model: nn.Module, args: Any, kwargs: Mapping[str, Any] | None) -> list[Argument]:
    """Lists the arguments of a call of `model`; those with a constant example and a keyword come last.

    Args:
        model: Its forward's signature is looked at, through decorators.
        args: The positional examples; a single tensor stands for itself.
        kwargs: The examples passed by keyword.

    Raises:
        ArgumentTypeError: The examples do not fit the signature.

    Example:
        >>> [argument.name for argument in bound_arguments(nn.ReLU(), torch.ones(2), None)]
        ['input']
    """
    args = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    given = dict(kwargs or {})
    signature = _signature(model)
    if signature is None:
        names = [f"args_{index}" for index in range(len(args))]
    else:
        names = _positional_names(model, signature, args, given)
    arguments = [Argument(name, value, False) for name, value in zip(names, args, strict=True)]
    by_keyword = [Argument(name, value, True) for name, value in given.items()]
    return [*arguments, *sorted(by_keyword, key=lambda argument: isinstance(argument.value, CONSTANT_TYPES))]


def _signature(model: nn.Module) -> inspect.Signature | None:
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def _positional_names(
    model: nn.Module, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[str]:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentTypeError(
            f"The example inputs do not fit {type(model).__name__}.forward{signature}: {error}. "
            "Give the positional ones as a tuple in example_inputs and the others as a dict in example_kwargs."
        ) from error
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.extend(f"{parameter.name}_{index}" for index in range(len(args) - len(names)))
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return names[: len(args)]


def is_constant(value: Any) -> bool:
    """Whether an example becomes a constant of the graph: a number, a text, None, and containers of these."""
    leaves = pytree.tree_leaves(value)
    return all(isinstance(leaf, CONSTANT_TYPES) for leaf in leaves) and not dataclasses.is_dataclass(value)


def with_proxies(value: Any, proxy: Any, argument: str) -> Any:
    """Rebuilds an example with a proxy for each tensor in it, read from the placeholder's `proxy`.

    Args:
        value: The example: a tensor, or tensors in lists, tuples, dicts, dataclasses and what pytree knows.
        proxy: The proxy of the whole argument.
        argument: The argument's name, for the error.

    Raises:
        ArgumentTypeError: It holds an object that is no tensor, no constant and no known container.
    """
    if isinstance(value, torch.Tensor):
        return proxy
    if isinstance(value, CONSTANT_TYPES):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass_with_proxies(value, proxy, argument)
    if pytree.tree_is_leaf(value):
        raise ArgumentTypeError(
            f"The example for {argument!r} holds an object of type {type(value).__name__}: neither a tensor, a number, a "
            "text nor a container that torch.utils._pytree knows. Register its class with pytree.register_pytree_node."
        )
    paths, spec = pytree.tree_flatten_with_path(value, is_leaf=lambda node: node is not value)
    read = [with_proxies(leaf, _Lazily(proxy, path[0]), argument) for path, leaf in paths]
    return pytree.tree_unflatten([_proxy_of(each) for each in read], spec)


class _Lazily:
    """An element of an argument that is read when it turns out to be a tensor."""

    def __init__(self, container: Any, key: Any) -> None:
        self._container = container
        self._key = key

    def proxy(self) -> Any:
        container = self._container.proxy() if isinstance(self._container, _Lazily) else self._container
        if isinstance(self._key, pytree.GetAttrKey):
            return getattr(container, self._key.name)
        key = self._key.idx if isinstance(self._key, pytree.SequenceKey) else self._key.key
        return container[key]


def _proxy_of(value: Any) -> Any:
    return value.proxy() if isinstance(value, _Lazily) else value


def _dataclass_with_proxies(value: Any, proxy: Any, argument: str) -> Any:
    rebuilt = copy.copy(value)
    for field in dataclasses.fields(value):
        element = getattr(value, field.name)
        read = _proxy_of(with_proxies(element, _Lazily(proxy, pytree.GetAttrKey(field.name)), argument))
        if read is not element:
            object.__setattr__(rebuilt, field.name, read)
    return rebuilt


def placeholder_default(argument: Argument) -> tuple[Any, ...]:
    """Returns the default of an argument's placeholder: a constant passed by keyword need not be passed again."""
    if argument.keyword and isinstance(argument.value, CONSTANT_TYPES):
        return (argument.value,)
    return ()


Forward = Callable[..., Any]


def called(forward: Forward, arguments: Sequence[Argument], values: Sequence[Any]) -> Any:
    """Calls `forward` with `values` in the places of `arguments`."""
    pairs = list(zip(arguments, values, strict=True))
    by_keyword = {argument.name: value for argument, value in pairs if argument.keyword}
    return forward(*(value for argument, value in pairs if not argument.keyword), **by_keyword)


def placeholders(graph: fx.Graph) -> list[str]:
    """Returns the names under which the arguments of `graph` are passed, in order."""
    return [str(node.target) for node in cast("list[fx.Node]", graph.find_nodes(op="placeholder"))]
