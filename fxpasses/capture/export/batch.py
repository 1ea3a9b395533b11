"""The batch of an export: `torch.export` fixes every size that is one, and takes all others for two or more.

A model may do something else with a single sample: look for it, or squeeze it away. What it does is told by runs
without data, which compute nothing and write nothing.
"""

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

from fxpasses.capture.modes import left_as_it_was

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


class Batch(NamedTuple):
    """Inputs for an export, and the least number of samples that the graph will be right for."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    least: int


def batch_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
    """Looks whether a model treats one sample as it treats several.

    If so, a batch of one is doubled, so that its size stays free. A model that treats it in its own way, or takes no
    more than one, is exported for one. A model that is given several is exported for two or more then.

    Example:
        >>> class Squeezes(nn.Module):
        ...     def forward(self, x):
        ...         return x.squeeze()
        >>> one, two = torch.ones(1, 3), torch.ones(2, 3)
        >>> [batch_of(model, (one,), {}).args[0].shape[0] for model in (nn.ReLU(), Squeezes())]
        [2, 1]
        >>> [batch_of(model, (two,), {}).least for model in (nn.ReLU(), Squeezes())]
        [1, 2]
    """
    tensors = _tensors((args, kwargs))
    sizes = {tensor.shape[0] if tensor.ndim else 1 for tensor in tensors}
    if sizes == {1} and all(tensor.ndim > 1 for tensor in tensors):
        return _doubled(model, (args, kwargs))
    several = sizes - {1}
    if len(several) != 1:
        return Batch(args, kwargs, 1)
    (size,) = several
    first = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor[:1] if tensor.ndim else tensor, (args, kwargs))
    one = _calls(model, first)
    return Batch(args, kwargs, 1 if one is None or _are_alike(one, _calls(model, (args, kwargs)), size) else 2)


def _doubled(model: nn.Module, inputs: Inputs) -> Batch:
    doubled: Inputs = pytree.tree_map_only(torch.Tensor, lambda tensor: torch.cat([tensor, tensor]), inputs)
    one = _calls(model, inputs)
    # A model that fails on one sample, such as a normalisation in training mode, is one for several.
    args, kwargs = doubled if one is None or _are_alike(one, _calls(model, doubled), 2) else inputs
    return Batch(args, kwargs, least=1)


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
        with left_as_it_was(model), _without_logs(), torch.no_grad(), fake, recorder:
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


def _are_alike(one: list[_Call], several: list[_Call] | None, size: int) -> bool:
    return (
        several is not None
        and len(one) == len(several)
        and all(_is_the_same_call(*calls, size) for calls in zip(one, several, strict=True))
    )


def _is_the_same_call(one: _Call, several: _Call, size: int) -> bool:
    return (
        one.function == several.function
        and one.dimensions == several.dimensions
        and len(one.constants) == len(several.constants)
        and all(_is_the_same_constant(*pair, size) for pair in zip(one.constants, several.constants, strict=True))
    )


def _is_the_same_constant(one: Any, several: Any, size: int) -> bool:
    """Whether a constant is the same for several samples as for one, or grows or shrinks with their number."""
    if type(one) is not type(several):
        return False
    if isinstance(one, (int, float)) and not isinstance(one, bool):
        return several in (one, size * one, one / size)
    return not isinstance(one, (bool, str)) or one == several
