"""Copies of graph modules, to try passes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from fxpasses.graph.bits import first_difference
from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.modules import targets
from fxpasses.graph.serialize import copy_graph


def copied(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Returns a copy with parameters and nodes of its own; what is attached to the graph module is shared.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> copied(graph_module).graph is graph_module.graph
        False
    """
    attached = graph_module.meta
    return copy.deepcopy(graph_module, {id(attached): dict(attached)})


def copied_without_tensors(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Returns a copy with modules and nodes of its own, that shares parameters and buffers; it holds no code yet."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in _tensors(graph_module)}
    root = nn.Module()
    root.training = graph_module.training
    for entries in ("_modules", "_parameters", "_buffers"):
        root.__dict__[entries].update(copy.deepcopy(graph_module.__dict__[entries], memo))
    for name in {path.split(".")[0] for path in targets(graph_module.graph)}:
        if not hasattr(root, name):
            setattr(root, name, getattr(graph_module, name))
    result = LazyGraphModule(root, copy_graph(graph_module.graph))
    result.meta.update(graph_module.meta)
    return result


def writes_tensors(run: Callable[[fx.GraphModule], object], graph_module: fx.GraphModule) -> bool:
    """Whether `run` writes into a parameter or buffer of what it is given; tried on a copy."""
    subject = copied(graph_module)
    pairs = list(zip(_tensors(subject), _tensors(graph_module), strict=True))
    try:
        run(subject)
    except Exception:  # what it wrote until then is all that counts
        return not _are_equal(pairs)
    return not _are_equal(pairs)


def _are_equal(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return all(first_difference(one, other) is None for one, other in pairs)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
