"""All that an extractor must leave alone in a model, compared before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


@dataclass(frozen=True)
class ModelState:
    """Training flags, attributes, hooks, parameters and buffers, each with its identity and value."""

    training: dict[str, bool]
    attributes: dict[str, dict[str, int]]
    children: dict[str, list[tuple[str, int]]]
    hooks: dict[str, list[tuple[str, int, int]]]
    tensors: dict[str, tuple[int, torch.Tensor]]

    @classmethod
    def of(cls, model: nn.Module) -> ModelState:
        modules = dict(model.named_modules(remove_duplicate=False))
        return cls(
            {path: module.training for path, module in modules.items()},
            {path: {key: id(value) for key, value in vars(module).items()} for path, module in modules.items()},
            {path: [(name, id(child)) for name, child in module._modules.items()] for path, module in modules.items()},
            {path: _hooks(module) for path, module in modules.items()},
            {name: (id(tensor), tensor.detach().clone()) for name, tensor in _tensors(model)},
        )

    def assert_same(self, model: nn.Module) -> None:
        """Fails unless `model` is in this state."""
        now = ModelState.of(model)
        assert now.training == self.training
        assert now.attributes == self.attributes
        assert now.children == self.children
        assert now.hooks == self.hooks
        assert list(now.tensors) == list(self.tensors)
        for name, (identity, value) in self.tensors.items():
            assert now.tensors[name][0] == identity, name
            assert value.is_meta or torch.equal(now.tensors[name][1], value), name


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def _hooks(module: nn.Module) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for kind in _HOOKS:
        entries: dict[int, Any] = getattr(module, kind, {})
        found.extend((kind, key, id(hook)) for key, hook in entries.items())
    return found
