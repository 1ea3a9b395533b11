"""What a call of a function of `torch.nn.functional` may do.

These are Python functions around operators, with signatures of their own: `inplace=`, running statistics and
the flags of dropout are at other places than in the operators' schemas.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from fxpasses.graph.effects.behaviour import Behaviour, ResultKind, argument, flag, key_at, with_out
from fxpasses.graph.effects.schema import facts_of_name

_DROPOUTS = frozenset(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout".split()
)
_RANDOM = frozenset("gumbel_softmax fractional_max_pool2d fractional_max_pool3d".split())
_RANDOM_WITH_DROPOUT = {
    "scaled_dot_product_attention": (4, "dropout_p"),
    "multi_head_attention_forward": (10, "dropout_p"),
}

Args = Sequence[object]
Kwargs = Mapping[str, object]


def behaviour_of_functional(name: str, function: Callable[..., Any], args: Args, kwargs: Kwargs) -> Behaviour:
    """Returns what calling `torch.nn.functional.<name>` may do: nothing to its arguments unless said here.

    Example:
        >>> import torch.nn.functional as F
        >>> behaviour_of_functional("dropout", F.dropout, ("x", 0.5, False), {}).returns
        frozenset({0})
    """
    first = key_at(args, kwargs, 0, next(iter(_parameters(function)), ""))
    inplace = _flag_of(function, "inplace", args, kwargs)
    if name in _DROPOUTS:
        return _dropout(function, args, kwargs, first, inplace)
    if inplace is not False:
        return Behaviour(writes=first, returns=first, kind="tensor", random=_draws(name, function, args, kwargs))
    behaviour = Behaviour(
        writes=_written(name, args, kwargs),
        kind=_kind(name, function, args, kwargs),
        random=_draws(name, function, args, kwargs),
    )
    return with_out(behaviour, kwargs)


def _dropout(
    function: Callable[..., Any], args: Args, kwargs: Kwargs, first: frozenset[int | str], inplace: bool | None
) -> Behaviour:
    # The rate first: where nothing is dropped, nobody has to know the mode.
    drops = (
        _flag_of(function, "p", args, kwargs) is not False and _flag_of(function, "training", args, kwargs) is not False
    )
    writes = first if drops and inplace is not False else frozenset[int | str]()
    return Behaviour(writes=writes, returns=first, kind="tensor", random=drops)


def _written(name: str, args: Args, kwargs: Kwargs) -> frozenset[int | str]:
    if name in ("batch_norm", "instance_norm"):
        updates = flag(args, kwargs, 5, "training" if name == "batch_norm" else "use_input_stats", name != "batch_norm")
        statistics = key_at(args, kwargs, 1, "running_mean") | key_at(args, kwargs, 2, "running_var")
        return frozenset() if updates is False else statistics
    if name in ("embedding", "embedding_bag"):
        limit = argument(args, kwargs, 3, "max_norm", None)
        return frozenset() if limit is None else key_at(args, kwargs, 1, "weight")
    return frozenset()


def _draws(name: str, function: Callable[..., Any], args: Args, kwargs: Kwargs) -> bool:
    if name in _RANDOM_WITH_DROPOUT:
        position, parameter = _RANDOM_WITH_DROPOUT[name]
        return flag(args, kwargs, position, parameter, 0.0) is not False
    return name in _RANDOM or (name == "rrelu" and _flag_of(function, "training", args, kwargs) is not False)


def _flag_of(function: Callable[..., Any], parameter: str, args: Args, kwargs: Kwargs) -> bool | None:
    """Returns whether the argument for a parameter is true; False if the function has no such parameter."""
    place = _parameters(function).get(parameter)
    return False if place is None else flag(args, kwargs, place[0], parameter, place[1])


@cache
def _parameters(function: Callable[..., Any]) -> dict[str, tuple[int, object]]:
    """Returns the position and the default of each parameter, as far as the function tells."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return {}
    return {parameter.name: (position, parameter.default) for position, parameter in enumerate(parameters)}


def _kind(name: str, function: Callable[..., Any], args: Args, kwargs: Kwargs) -> ResultKind:
    # Those that are built in return indices always, as do those that say so in their names.
    if "max_pool" in name and not name.endswith("_with_indices") and not inspect.isbuiltin(function):
        position = 2 if "adaptive" in name else 4 if "fractional" in name else 6
        return "tensor" if flag(args, kwargs, position, "return_indices", False) is False else "any"
    return _declared_kind(name, function)


@cache
def _declared_kind(name: str, function: Callable[..., Any]) -> ResultKind:
    annotations = getattr(function, "__annotations__", None)
    if annotations:
        return "tensor" if annotations.get("return") in (Tensor, "Tensor") else "any"
    facts = facts_of_name(name)
    return "any" if facts is None else facts.kind
