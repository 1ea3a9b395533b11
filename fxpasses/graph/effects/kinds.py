"""What the values of a graph are, as far as the graph tells: a tensor, a sequence of tensors, no tensor, anything."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch
from torch import fx, nn

from fxpasses.graph.effects.behaviour import Behaviour, Kind
from fxpasses.graph.modules import submodule

_NUMBERS = (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool)
_CONTAINERS = (list, tuple, dict, set, str)
_PASSES_ANYTHING = (nn.Identity, nn.Sequential, nn.ModuleList)


def kind_of_result(node: fx.Node, behaviour: Behaviour, kinds: Mapping[fx.Node, Kind]) -> Kind:
    """Returns what a call results in.

    Args:
        node: The call.
        behaviour: What it may do.
        kinds: What its operands are.
    """
    if behaviour.kind == "numeric" or (behaviour.concatenates and not may_concatenate(node, kinds)):
        return _kind_of_arithmetic({kinds[each] for each in node.all_input_nodes})
    first = next(iter((*node.args, *node.kwargs.values())), None)
    owner: Kind = kinds[first] if isinstance(first, fx.Node) else "any"
    if behaviour.kind == "first":
        # `n += x` leaves a number as it is, and makes something new.
        return owner if owner != "none" else _kind_of_arithmetic({kinds[each] for each in node.all_input_nodes})
    if behaviour.kind == "item":
        return _kind_of_item(owner, node.args[1] if len(node.args) > 1 else None)
    return behaviour.kind


def _kind_of_arithmetic(operands: set[Kind]) -> Kind:
    if "tensor" in operands:
        return "tensor"
    return "none" if operands == {"none"} else "numeric"


def _kind_of_item(owner: Kind, index: object) -> Kind:
    if owner == "tensors":
        return "tensor" if isinstance(index, int) else "any"
    return owner


def may_concatenate(node: fx.Node, kinds: Mapping[fx.Node, Kind]) -> bool:
    """Whether `a + b`, `a * b` or `a | b` may be about containers: with a tensor, or a number added, it is arithmetic.

    Example:
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> sums = [graph.call_function(operator.add, args) for args in ((x, 1), (x, x), ((x,), (x,)))]
        >>> [may_concatenate(node, {x: "any"}) for node in sums]
        [False, True, True]
    """
    operands = (*node.args, *node.kwargs.values())
    if any(isinstance(each, fx.Node) and kinds[each] in ("tensor", "numeric") for each in operands):
        return False
    adds = node.target in (operator.add, "__add__", "__radd__", operator.iadd, operator.or_, "__or__", "__ror__")
    return not any(isinstance(each, float) or (adds and isinstance(each, int)) for each in operands)


def kind_by_use(node: fx.Node, root: nn.Module, otherwise: Kind) -> Kind:
    """Returns what a value must be, judging by the example on it, its annotation, and what it is used for."""
    example = node.meta.get("val")
    if isinstance(example, torch.Tensor):
        return "tensor"
    if isinstance(example, _NUMBERS):
        return "none"
    is_tensor = node.type in (torch.Tensor, "Tensor", "torch.Tensor") or any(
        _takes_tensor(user, node, root) for user in node.users
    )
    return "tensor" if is_tensor else otherwise


def _takes_tensor(user: fx.Node, node: fx.Node, root: nn.Module) -> bool:
    """Whether a call works only if what is passed first is a tensor."""
    if not user.args or user.args[0] is not node:
        return False
    if user.op == "call_method":
        name = str(user.target)
        return hasattr(torch.Tensor, name) and not any(hasattr(each, name) for each in _CONTAINERS)
    if user.op == "call_module":
        module = submodule(root, str(user.target))
        return type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, _PASSES_ANYTHING)
    return user.target is getattr and user.args[1] in ("shape", "dtype", "device", "ndim")
