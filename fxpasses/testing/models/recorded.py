"""The keywords that a trace records for a call: those of the call, and often the defaults of the function too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import FunctionType
from typing import Any

from torch import fx
from torch.fx.proxy import GraphAppendingTracer

# Torch's functions in Python hand all of their arguments to what stands for a tensor; those in C++ the given ones.
_IN_PYTHON = ("torch.functional", "torch.nn.functional")


def recorded_keywords(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of the node that tracing `function(*args, **kwargs)` makes.

    Example:
        >>> from torch.nn import functional
        >>> recorded_keywords(functional.elu, (0,), {"inplace": True})
        {'alpha': 1.0, 'inplace': True}
    """
    if not isinstance(function, FunctionType) or function.__module__ not in _IN_PYTHON:
        return dict(kwargs)
    return {name: kwargs.get(name, value) for name, value in _recorded(function, len(args), tuple(kwargs)).items()}


@cache
def _recorded(function: FunctionType, positional: int, keywords: tuple[str, ...]) -> dict[str, Any]:
    graph = fx.Graph()
    tracer = GraphAppendingTracer(graph)
    given = [fx.Proxy(graph.placeholder("given"), tracer) for _ in range(positional + len(keywords))]
    result = function(*given[:positional], **dict(zip(keywords, given[positional:], strict=True)))
    return dict(result.node.kwargs)
