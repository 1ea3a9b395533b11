"""Which arguments a function, a method or a module's forward takes: never stricter than the call itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.jit._builtins import _find_builtin

from fxpasses.graph.weak_cache import weakly_cached

_ALIASES = frozenset(
    {
        "input", "out", "x", "a", "x1", "x2", "axis", "keepdims", "names", "requires_grad", "pin_memory",
        "check_invariants", "as_tuple", "device", "memory_format", "non_blocking",
    }
)  # fmt: skip
"""What torch's own functions take besides what their schemas name: NumPy's spellings, what factories take, and what a
single function or method takes alone, such as `nonzero`."""


class Parameters(NamedTuple):
    """What a call may look like.

    Attributes:
        required: The parameters without a default, in order, for those that are known by name.
        fewest: How many arguments there must be.
        keywords: What may be passed by keyword; None if anything may.
        most_positional: How many positional arguments there may be; None if any number.
    """

    required: tuple[str, ...]
    fewest: int
    keywords: frozenset[str] | None
    most_positional: int | None

    def has_required(self, positional: int, keywords: Collection[str]) -> bool:
        """Whether so many positional arguments and these keywords give every required parameter its value."""
        if positional + len(keywords) < self.fewest:
            return False
        return all(name in keywords for name in self.required[positional:])


@weakly_cached
def parameters_of_function(function: Callable[..., Any]) -> Parameters | None:
    """Returns what `function` takes, or None if nobody can tell.

    Example:
        >>> parameters_of_function(nn.functional.relu).required
        ('input',)
        >>> parameters_of_function(torch.relu).fewest, parameters_of_function(max)
        (1, None)
    """
    if isinstance(function, torch._ops.OpOverload):
        return _of_overload(function._schema)
    if isinstance(function, torch._ops.OpOverloadPacket):
        return _of_schemas([function._qualified_op_name])
    signature = _signature(function)
    if signature is not None:
        return signature
    try:
        name = _find_builtin(function)
    except RuntimeError:  # what is no builtin of TorchScript
        return None
    return None if name is None else _of_schemas([name])


@lru_cache(maxsize=4096)
def parameters_of_method(name: str) -> Parameters | None:
    """Returns what the method `name` of a tensor takes, the tensor included, or None if nobody can tell.

    Example:
        >>> "dim" in parameters_of_method("sum").keywords
        True
    """
    method = getattr(torch.Tensor, name)
    signature = _signature(method) if inspect.isfunction(method) else None
    return signature or _of_schemas([f"aten::{name}"])


def parameters_of_forward(module: nn.Module) -> Parameters | None:
    """Returns what calling `module` takes, or None if nobody can tell.

    Example:
        >>> parameters_of_forward(nn.ReLU()).required
        ('input',)
    """
    if "forward" in module.__dict__:
        return None
    if type(module).__call__ is not nn.Module.__call__ or module._forward_pre_hooks:
        return None  # what is called first may change the arguments; every graph module has a call of its own
    return _of_forward(type(module))


@weakly_cached
def _of_forward(module_type: type[nn.Module]) -> Parameters | None:
    if not inspect.isfunction(inspect.getattr_static(module_type, "forward")):
        return None  # a static method takes no module first, and nothing is known of a builtin or of TorchScript
    found = cast("Parameters", _signature(module_type.forward))
    required = found.required[1:]
    most = None if found.most_positional is None else found.most_positional - 1
    return Parameters(required, len(required), found.keywords, most)


def _signature(function: Callable[..., Any]) -> Parameters | None:
    try:
        # What a wrapper really takes, not what it says that the wrapped function takes.
        parameters = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (ValueError, TypeError):  # a builtin without a signature
        return None
    kinds = {parameter.kind for parameter in parameters}
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    named = [each for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    # Required keywords come after all positional parameters, so they are only counted.
    required = tuple(each.name for each in positional if each.default is each.empty)
    return Parameters(
        required,
        len(needed),
        None if inspect.Parameter.VAR_KEYWORD in kinds else frozenset(each.name for each in named),
        None if inspect.Parameter.VAR_POSITIONAL in kinds else len(positional),
    )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _of_overload(schema: Any) -> Parameters:
    arguments = cast("list[Any]", schema.arguments)
    positional = [each for each in arguments if not each.kwarg_only]
    needed = [each.name for each in arguments if not each.has_default_value()]
    required = tuple(each.name for each in positional if not each.has_default_value())
    return Parameters(required, len(needed), frozenset(each.name for each in arguments), len(positional))


def _of_schemas(names: Iterable[str]) -> Parameters | None:
    """Returns what one of several overloads takes; Python's parsing of arguments allows more than each of them."""
    schemas = [schema for name in names for schema in torch._C._jit_get_schemas_for_operator(name)]
    if not schemas or any("..." in str(schema) for schema in schemas):
        return None
    fewest = min(_of_overload(schema).fewest for schema in schemas)
    keywords = _ALIASES.union(argument.name for schema in schemas for argument in schema.arguments)
    return Parameters((), fewest, keywords, None)
