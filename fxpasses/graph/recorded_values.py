"""`RecordedValues`: whether the value in a node's meta is what its operation computes, by shape and type alone."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from fxpasses.graph.state import NodeRow

_TRUSTED = ("torch", "torch._C._nn", "torch.functional", "torch.nn.functional", "_operator", "math")


class RecordedValues:
    """Computes shapes and types of single operations, on tensors without memory.

    Only functions, methods and modules of torch itself are called, and only where the values of all inputs are
    recorded with sizes that are numbers. What cannot be computed so is taken to be right.
    """

    def __init__(self, owner: nn.Module) -> None:
        self.owner = owner
        self._checked: dict[fx.Node, list[object]] = {}

    def difference(self, row: NodeRow) -> str | None:
        """Says what is stale about the recorded value of a node, or returns None.

        A node that was asked about before, and looks the same now, is not computed again.
        """
        recorded = recorded_value(row.node)
        if recorded is None or row.op not in ("call_function", "call_method", "call_module"):
            return None
        looks: list[object] = [row.target, row.args, row.kwargs, recorded, *map(recorded_value, row.node._input_nodes)]
        checked = self._checked.get(row.node)
        if checked is not None and all(map(is_, checked, looks)):  # the same arguments hold as many nodes
            return None
        difference = self._computed_difference(row, recorded)
        if difference is None:
            self._checked[row.node] = looks
        return difference

    def _computed_difference(self, row: NodeRow, recorded: Any) -> str | None:
        try:
            computed = self._compute(row)
        except Exception:  # no kernel for tensors without memory, sizes that depend on data: it cannot be told
            return None
        return _difference(recorded, computed)

    def _compute(self, row: NodeRow) -> object:
        function = self._callable(row)
        if function is None:
            return None
        args = fx.map_arg(row.args, _on_meta)
        kwargs = fx.map_arg(row.kwargs, _on_meta)
        with torch.no_grad():
            return function(*args, **{**kwargs, **({"device": "meta"} if "device" in kwargs else {})})

    def _callable(self, row: NodeRow) -> Callable[..., object] | None:
        if not any(recorded_value(node) is not None for node in row.node.all_input_nodes):
            return None  # nothing to infer from, and a call without inputs may be an effect on torch's own state
        if row.op == "call_module":
            return _module_on_meta(self.owner.get_submodule(str(row.target)))
        if row.op == "call_method":
            name = str(row.target)
            return lambda receiver, *args, **kwargs: getattr(receiver, name)(*args, **kwargs)
        is_trusted = isinstance(row.target, torch._ops.OpOverload) or row.target.__module__ in _TRUSTED
        return row.target if is_trusted else None


def recorded_value(node: fx.Node) -> Any:
    """Returns the tensor, or the description of one, that the meta of `node` holds, or None.

    Example:
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> x.meta["val"] = torch.empty(2, 3, device="meta")
        >>> recorded_value(x).shape
        torch.Size([2, 3])
    """
    for key in ("val", "tensor_meta", "example_value"):
        value = node.meta.get(key)
        if isinstance(value, (torch.Tensor, TensorMetadata)):
            return value
    return None


def _on_meta(node: fx.Node) -> Any:
    value = recorded_value(node)
    if value is None:
        raise LookupError(node.name)
    if not all(type(size) is int for size in value.shape):
        raise LookupError(node.name)
    return torch.empty(tuple(value.shape), dtype=value.dtype, device="meta")


def _module_on_meta(module: nn.Module) -> Callable[..., object] | None:
    if not type(module).__module__.startswith("torch.nn."):
        return None
    state = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
    return lambda *args, **kwargs: torch.func.functional_call(module, state, args, kwargs)


def _difference(recorded: Any, computed: object) -> str | None:
    if not isinstance(computed, torch.Tensor) or not all(type(size) is int for size in recorded.shape):
        return None
    found, expected = _spell(recorded), _spell(computed)
    return None if found == expected else f"it says {found}, and the operation makes {expected}"


def _spell(value: Any) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(cast('torch.Size', value.shape))}"
