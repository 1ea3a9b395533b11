"""What is known of a node's value without computing it."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn

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
_ONE_TENSOR = frozenset(
    {
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
        elif current.op == "call_function" and current.target in _ONE_TENSOR:
            return True
        elif current.op == "call_function" and current.target in _ARITHMETIC:
            waiting.extend(current.all_input_nodes)  # one tensor among the operands makes the result one
    return False


def _returns_one_tensor(module: object) -> bool:
    while isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and len(module):
        module = module[-1]
    home, name = type(module).__module__, type(module).__name__
    if home.startswith("torchvision.ops."):
        return name in _LAYERS_OF_TORCHVISION
    return home.startswith("torch.nn.") and not isinstance(module, _SEVERAL_OUTPUTS)
