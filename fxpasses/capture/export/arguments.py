"""The inputs of an export: which sizes may vary, and which ones it fixed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from fxpasses.capture.signature import bound_arguments

DynamicSizes = Any


def example_arguments(
    model: nn.Module, example_inputs: Any, example_kwargs: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the examples as positional and keyword arguments.

    Raises:
        ArgumentTypeError: The examples do not fit the signature of the model's forward.
    """
    arguments = bound_arguments(model, example_inputs, example_kwargs)
    args = tuple(argument.value for argument in arguments if not argument.keyword)
    return args, {argument.name: argument.value for argument in arguments if argument.keyword}


def dynamic_sizes(args: tuple[Any, ...], kwargs: Mapping[str, Any], asked: Any) -> DynamicSizes:
    """Returns the sizes that may vary, in the form that `torch.export.export` takes; `"batch"` means the first ones."""
    if asked != "batch":
        return asked
    shapes = torch.export.ShapesCollection()
    for leaf in pytree.tree_leaves((args, dict(kwargs))):
        if isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and leaf.shape[0] > 1:
            shapes[leaf] = {0: Dim.AUTO}
    return shapes


def free_sizes(program: ExportedProgram, least: int = 1) -> dict[int, tuple[int | range | None, ...]]:
    """Returns the shape that each tensor among the inputs must have, by its place; None where a size may vary.

    Args:
        program: The program.
        least: The least number of samples that it is right for; more than one makes a range of a first size that varies.
    """
    nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    found: dict[int, tuple[int | range | None, ...]] = {}
    batch = range(least, sys.maxsize) if least > 1 else None
    for index, name in enumerate(program.graph_signature.user_inputs):
        value = nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else None
        if isinstance(value, torch.Tensor):
            sizes: list[int | range | None] = [size if type(size) is int else None for size in value.shape]
            sizes[:1] = [batch if size is None else size for size in sizes[:1]]
            found[index] = tuple(sizes)
    return found
