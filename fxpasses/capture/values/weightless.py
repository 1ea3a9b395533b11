"""Modules and arguments without the data of their tensors."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.utils import _pytree as pytree

NO_DEVICE = torch.device("meta")


def without_data(value: Any) -> Any:
    """Returns a value with tensors on the meta device in place of those in it, in containers and dataclasses too.

    Example:
        >>> without_data([torch.ones(2, 3), 4])
        [tensor(..., device='meta', size=(2, 3)), 4]
    """
    if isinstance(value, torch.Tensor):
        return _bare_tensor(value)
    if type(value) in (list, tuple):
        return type(value)([without_data(each) for each in cast("Sequence[Any]", value)])
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, dict)):
        bare = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(bare, field.name, without_data(getattr(value, field.name)))
        return bare
    return pytree.tree_map_only(torch.Tensor, _bare_tensor, value)


def without_weights(module: nn.Module) -> nn.Module:
    """Returns a copy of a module whose tensors are on the meta device, and which has no hooks.

    The copy shares every other attribute with the module.

    Example:
        >>> linear = nn.Linear(2, 3)
        >>> without_weights(linear).weight.device, linear.weight.device
        (device(type='meta'), device(type='cpu'))
    """
    bare = type(module).__new__(type(module))
    for name, value in vars(module).items():
        bare.__dict__[name] = _bare_attribute(name, value)
    return bare


def _bare_attribute(name: str, value: Any) -> Any:
    if name in ("_parameters", "_buffers"):
        return {key: _bare_tensor(each) if each is not None else None for key, each in value.items()}
    if name == "_modules":
        return {key: without_weights(each) if each is not None else None for key, each in value.items()}
    if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and name.startswith("_"):
        return type(value)()
    return _bare_tensor(value) if isinstance(value, torch.Tensor) else value


def _bare_tensor(tensor: torch.Tensor) -> torch.Tensor:
    bare = tensor.detach().to(NO_DEVICE)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(bare, tensor.requires_grad)
    return bare.requires_grad_() if tensor.requires_grad else bare
