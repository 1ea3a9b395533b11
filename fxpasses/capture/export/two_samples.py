"""Whether a batch of one may be doubled: an export fixes every size that is one, and takes all others for two or more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def with_two_samples(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
    """Doubles the batch of the inputs if all tensors have a first dimension of one, and the model does not mind.

    It minds where it looks for a single sample, or has no way to take two: then the inputs are returned as they are.
    What it does is told by runs without data, which compute nothing and write nothing.

    Example:
        >>> class Squeezes(nn.Module):
        ...     def forward(self, x):
        ...         return x.squeeze()
        >>> (x,), _ = with_two_samples(nn.ReLU(), (torch.ones(1, 3),), {})
        >>> (y,), _ = with_two_samples(Squeezes(), (torch.ones(1, 3),), {})
        >>> x.shape, y.shape
        (torch.Size([2, 3]), torch.Size([1, 3]))
    """
    tensors = _tensors((args, kwargs))
    if not tensors or any(tensor.ndim < 2 or tensor.shape[0] != 1 for tensor in tensors):
        return args, kwargs
    doubled = pytree.tree_map_only(torch.Tensor, lambda tensor: torch.cat([tensor, tensor]), (args, kwargs))
    one = _calls(model, (args, kwargs))
    # A model that fails on one sample, such as a normalisation in training mode, is one for several.
    return doubled if one is None or _are_alike(one, _calls(model, doubled)) else (args, kwargs)


class _Call(NamedTuple):
    """A call of a function of torch on tensors: what it was given besides tensors, and how many dimensions its results have."""

    function: Callable[..., Any]
    constants: list[Any]
    dimensions: list[int]


class _Recorder(TorchFunctionMode):
    """Records the calls that the code of the model makes, but not what torch makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given, made = pytree.tree_leaves((args, kwargs)), _tensors(result)
        constants = [leaf for leaf in given if not isinstance(leaf, torch.Tensor)]
        if made or len(constants) < len(given):  # an assertion about sizes only spells them in its message
            self.calls.append(_Call(func, constants, [tensor.ndim for tensor in made]))
        return result


def _calls(model: nn.Module, inputs: Inputs) -> list[_Call] | None:
    """Returns the calls that a run on these inputs makes, or None if it raises."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    recorder = _Recorder()
    try:
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        state: dict[str, torch.Tensor] = {name: fake.from_tensor(tensor) for name, tensor in named}
        args, kwargs = pytree.tree_map_only(torch.Tensor, fake.from_tensor, inputs)
        with _without_logs(), torch.no_grad(), fake, recorder:
            functional_call(model, state, args, kwargs, strict=False)
    except Exception:  # whatever the model, or an operation without data, raises
        return None
    return recorder.calls


@contextmanager
def _without_logs() -> Generator[None]:
    """Runs its block without the log of `torch` that tells, at length, which operation did not take its arguments."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _are_alike(one: list[_Call], two: list[_Call] | None) -> bool:
    return two is not None and len(one) == len(two) and all(map(_is_the_same_call, one, two))


def _is_the_same_call(one: _Call, two: _Call) -> bool:
    return (
        one.function == two.function
        and one.dimensions == two.dimensions
        and len(one.constants) == len(two.constants)
        and all(map(_is_the_same_constant, one.constants, two.constants))
    )


def _is_the_same_constant(one: Any, two: Any) -> bool:
    """Whether a constant is the same for two samples as for one, or grows with their number."""
    if type(one) is not type(two):
        return False
    if isinstance(one, (int, float)) and not isinstance(one, bool):
        return two in (one, 2 * one, one / 2)
    return not isinstance(one, (bool, str)) or one == two
