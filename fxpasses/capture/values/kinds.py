"""What is known of a node's value without computing it."""

from __future__ import annotations

import operator
from typing import cast

import torch
from torch import fx, nn
from torch.nn import functional

from fxpasses.graph.modules import attribute

_SEVERAL_OUTPUTS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.AdaptiveLogSoftmaxWithLoss)
_LAYERS_OF_TORCHVISION = frozenset({"FrozenBatchNorm2d", "Permute", "SqueezeExcitation", "StochasticDepth"})
_ARITHMETIC = frozenset(
    {
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.iadd,
        operator.isub,
        operator.imul,
        operator.matmul,
    }
)
_METHODS_OF_TENSORS = frozenset(
    {"contiguous", "flatten", "matmul", "permute", "reshape", "sigmoid", "softmax", "transpose", "unsqueeze", "view"}
)
_ONE_TENSOR = frozenset(
    {
        functional.gelu,
        functional.interpolate,
        functional.linear,
        functional.pad,
        functional.relu,
        functional.scaled_dot_product_attention,
        functional.silu,
        functional.softmax,
        torch.cat,
        torch.flatten,
        torch.add,
        torch.mul,
        torch.matmul,
        torch.sigmoid,
        torch.relu,
        torch.zeros,
        torch.ones,
        torch.arange,
    }
)


def surely_tensor(node: fx.Node, root: nn.Module) -> bool:
    """Whether `node` computes one tensor, whatever its inputs are; False means "not known".

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> [surely_tensor(node, model) for node in fx.symbolic_trace(model).graph.nodes]
        [False, True, False]
    """
    waiting, seen = [node], set[fx.Node]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.op == "call_module":
            module = attribute(root, str(current.target))
            if _returns_one_tensor(module):
                return True
        elif current.target in (_METHODS_OF_TENSORS if current.op == "call_method" else _ONE_TENSOR):
            return True
        elif current.target is operator.getitem:
            if _indexes_dimensions(current.args[1]):
                return True
            waiting.append(cast("fx.Node", current.args[0]))
        elif current.op == "call_function" and current.target in _ARITHMETIC:
            # One tensor among the operands makes the result one; not a tensor in a list that is an operand.
            waiting.extend(operand for operand in current.args if isinstance(operand, fx.Node))
    return False


def _indexes_dimensions(index: object) -> bool:
    return isinstance(index, tuple) and any(isinstance(part, slice) or part in (None, ...) for part in index)


def _returns_one_tensor(module: object) -> bool:
    while isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and len(module):
        module = module[-1]
    home, name = type(module).__module__, type(module).__name__
    if home.startswith("torchvision.ops."):
        return name in _LAYERS_OF_TORCHVISION
    return home.startswith("torch.nn.") and not isinstance(module, _SEVERAL_OUTPUTS)
