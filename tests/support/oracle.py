"""What a model really computes: run eagerly, each value cloned at the moment at which it is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree


def cloned(value: Any) -> Any:
    """Returns `value` with every tensor in it cloned."""
    return pytree.tree_map_only(torch.Tensor, torch.Tensor.clone, value)


class Calls:
    """What each call of each module returned, at birth, and which of it the model then overwrote."""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        self.returned: dict[str, list[Any]] = {}
        self._live: list[tuple[str, torch.Tensor, int]] = []
        # A module with two paths is seen under its first one.
        handles = [
            module.register_forward_hook(self._hook(path), with_kwargs=True) for path, module in model.named_modules()
        ]
        try:
            with torch.random.fork_rng(devices=[]):
                self.output = cloned(model(*args, **kwargs))
        finally:
            for handle in handles:
                handle.remove()
        self.overwritten = {path for path, tensor, version in self._live if tensor._version != version}

    def _hook(self, path: str) -> Any:
        def hook(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
            self.returned.setdefault(path, []).append(cloned(output))
            for tensor in pytree.tree_leaves(output):
                if isinstance(tensor, torch.Tensor):
                    self._live.append((path, tensor, tensor._version))

        return hook


class ValuesAtBirth(fx.Interpreter):
    """Runs a graph node by node and clones each value when it is made; `values` has them by the node's own name."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n.name] = cloned(value)
        return value


def assert_bit_equal(actual: Any, expected: Any, what: object = "") -> None:
    """Fails unless both have the same structure, and tensors of the same dtype, shape and bits (NaN equals NaN)."""
    left, left_spec = pytree.tree_flatten(_plain(actual))
    right, right_spec = pytree.tree_flatten(_plain(expected))
    assert left_spec == right_spec, (what, left_spec, right_spec)
    for one, other in zip(left, right, strict=True):
        if not isinstance(other, torch.Tensor):
            assert one == other, what
            continue
        assert isinstance(one, torch.Tensor), what
        assert one.dtype == other.dtype, what
        assert one.shape == other.shape, what
        same = torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
        assert same, (what, (one - other).abs().max())


def _plain(value: Any) -> Any:
    """Turns subclasses of dict into dict, and the immutable containers of torch.fx into plain ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return type(value)(*map(_plain, value)) if hasattr(value, "_fields") else tuple(map(_plain, value))
    if isinstance(value, list):
        return list(map(_plain, value))
    return value
