"""Passes with one bug each, of many kinds, and some without: what `fxpasses.manager.blame` has to tell apart."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from fxpasses.manager import ALL_FACTS, Pass, PassResult


@dataclass(frozen=True)
class Planted(Pass):
    """Base class: a pass that edits the graph in place, by a function of it."""

    preserves = ALL_FACTS

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        """Edits the graph."""
        return PassResult(graph_module, bool(self._edit(graph_module)))

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        """Edits the graph; returns whether it did."""
        raise NotImplementedError


def modules(graph_module: fx.GraphModule, kind: type[nn.Module]) -> Iterator[tuple[fx.Node, Any]]:
    """Yields the nodes that call a module of a class, with the module."""
    for node in list(graph_module.graph.nodes):
        if node.op == "call_module" and isinstance(graph_module.get_submodule(str(node.target)), kind):
            yield node, graph_module.get_submodule(str(node.target))


def calls(graph_module: fx.GraphModule, *targets: Callable[..., Any] | str) -> list[fx.Node]:
    """Returns the nodes that call one of these functions or methods."""
    return [node for node in graph_module.graph.nodes if node.target in targets and node.op.startswith("call_")]


def middle(found: list[Any]) -> Any:
    """Returns the one in the middle: the first and the last are too easy."""
    return found[len(found) // 2]


# --- passes without a bug


class ReluAsFunction(Planted):
    """Replaces modules that compute a relu by calls of the function."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        found = list(modules(graph_module, nn.ReLU))
        for node, module in found:
            node.op, node.target, node.kwargs = "call_function", functional.relu, {"inplace": module.inplace}
        return bool(found)


class FlattenAsMethod(Planted):
    """Replaces calls of torch.flatten by calls of the method."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        found = calls(graph_module, torch.flatten)
        for node in found:
            node.op, node.target = "call_method", "flatten"
        return bool(found)


class AddAsTorchAdd(Planted):
    """Replaces `+` by torch.add."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        found = [node for node in calls(graph_module, operator.add) if len(node.all_input_nodes) == 2]
        for node in found:
            node.target = torch.add
        return bool(found)


class DropIdentities(Planted):
    """Removes modules that return what they are given."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        found = list(modules(graph_module, nn.Identity))
        for node, _ in found:
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)
        return bool(found)


GOOD: list[Pass] = [ReluAsFunction(), FlattenAsMethod(), AddAsTorchAdd(), DropIdentities()]


# --- passes with a bug


class SwapsArguments(Planted):
    """Swaps what is concatenated."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(calls(graph_module, torch.cat))
        node.args = (list(reversed(node.args[0])), *node.args[1:])
        return True


class WrongConstant(Planted):
    """Permutes two axes too many."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(calls(graph_module, torch.permute))
        dims = list(node.args[1])
        dims[1], dims[2] = dims[2], dims[1]
        node.args = (node.args[0], dims)
        return True


class WrongKeyword(Planted):
    """Leaves out a keyword: the activation becomes the default one."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(list(modules(graph_module, nn.AdaptiveAvgPool2d)))[0]
        node.op, node.target, node.kwargs = "call_function", functional.adaptive_max_pool2d, {"output_size": 1}
        return True


class DropsWrite(Planted):
    """Makes an in-place activation an out-of-place one whose result nobody uses."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle([node for node, module in modules(graph_module, nn.ReLU) if module.inplace])
        node.replace_all_uses_with(node.args[0])
        node.op, node.target, node.kwargs = "call_function", functional.relu, {"inplace": False}
        return True


class DropsLiveCode(Planted):
    """Believes torch's dead code elimination."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        return graph_module.graph.eliminate_dead_code()


class LosesOutput(Planted):
    """Returns only the first of several outputs."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        output = graph_module.graph.output_node()
        output.args = (output.args[0][:1],)
        return True


class SwapsOutputs(Planted):
    """Returns the outputs in another order."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        output = graph_module.graph.output_node()
        output.args = (tuple(reversed(output.args[0])),)
        return True


class ReordersRandom(Planted):
    """Swaps two independent random operations."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        first, second = calls(graph_module, torch.rand_like)[:2]
        first.prepend(second)
        return True


class StaleMeta(Planted):
    """Records the shape of another value."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node, _ = middle(list(modules(graph_module, nn.Conv2d)))
        node.meta["tensor_meta"] = node.args[0].meta["tensor_meta"]
        return True


class ForgetsMetaOfANewOperation(Planted):
    """Changes what is computed, and not what is recorded of it."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(calls(graph_module, operator.add, torch.add))
        node.target = torch.eq
        return True


class UnknownKeyword(Planted):
    """Passes a keyword that the function does not take."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(calls(graph_module, torch.flatten, "flatten"))
        node.kwargs = {"begin_dim": 1}
        return True


class EmptiesUsers(Planted):
    """Empties the users of a node."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        middle(list(modules(graph_module, nn.BatchNorm2d)))[0].users.clear()
        return False


class MovesAfterUse(Planted):
    """Moves an operation behind its user."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(list(modules(graph_module, nn.BatchNorm2d)))[0]
        next(iter(node.users)).append(node)
        return True


class Raises(Planted):
    """Raises where an operation has two users."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        for node in graph_module.graph.nodes:
            if node.op == "call_module" and len(node.users) > 1:
                raise NotImplementedError(f"{len(node.users)} users")
        return False


class WrongModule(Planted):
    """Calls another module of the same shape."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        convolutions = list(modules(graph_module, nn.Conv2d))
        for first, one in convolutions:
            for second, other in convolutions:
                if one is not other and str(one) == str(other):
                    first.target = second.target
                    return True
        return False


class DropsResidual(Planted):
    """Takes one side of a sum for the sum."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle([node for node in calls(graph_module, operator.add, torch.add) if len(node.all_input_nodes) == 2])
        node.replace_all_uses_with(node.args[0])
        graph_module.graph.erase_node(node)
        return True


class WrongActivation(Planted):
    """Takes one activation for another."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(list(modules(graph_module, nn.Hardswish)))[0]
        node.op, node.target = "call_function", functional.silu
        return True


class LosesPrecision(Planted):
    """Inserts a cast to half precision and back."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        node = middle(list(modules(graph_module, nn.Conv2d)))[0]
        with graph_module.graph.inserting_after(node):
            half = graph_module.graph.call_method("half", (node,))
        with graph_module.graph.inserting_after(half):
            back = graph_module.graph.call_method("float", (half,))
        node.replace_all_uses_with(back, delete_user_cb=lambda user: user is not half)
        return True


class MergesTooMuch(Planted):
    """Merges operations with the same target and input, whatever their other arguments are."""

    def _edit(self, graph_module: fx.GraphModule) -> bool:
        seen: dict[object, fx.Node] = {}
        merged = False
        for node in list(graph_module.graph.nodes):
            if node.op not in ("call_function", "call_method") or not node.all_input_nodes:
                continue
            first = seen.setdefault((node.target, node.all_input_nodes[0]), node)
            if first is not node and node.target is not operator.add:
                node.replace_all_uses_with(first)
                graph_module.graph.erase_node(node)
                merged = True
        return merged


@dataclass(frozen=True)
class FoldsWithoutEpsilon(Pass):
    """Folds batch norms into convolutions, and forgets their epsilon if they have many channels."""

    rewrite_limit: int | None = None

    preserves = ALL_FACTS

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        """Folds up to the limit."""
        count = 0
        for node, norm in modules(graph_module, nn.BatchNorm2d):
            if count == self.rewrite_limit:
                break
            convolution = graph_module.get_submodule(str(node.args[0].target))
            _fold(convolution, norm, 0.0 if norm.num_features > 64 else norm.eps)
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)
            count += 1
        return PassResult(graph_module, count > 0, rewrites=count)


def _fold(convolution: Any, norm: Any, epsilon: float) -> None:
    scale = norm.weight / torch.sqrt(norm.running_var + epsilon)
    convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None])
    convolution.bias = nn.Parameter(norm.bias - norm.running_mean * scale)


@dataclass(frozen=True)
class ReinitialisesParameters(Pass):
    """Returns a new graph module, with other parameters in one layer."""

    preserves = ALL_FACTS
    in_place = False

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        """Copies all but one layer."""
        graph = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        returned = graph.graph_copy(graph_module.graph, copied)
        graph.output(returned)
        result = fx.GraphModule(graph_module, graph)
        path = next(str(node.target) for node, _ in modules(result, nn.Linear))
        old = result.get_submodule(path)
        result.set_submodule(path, nn.Linear(old.in_features, old.out_features))
        return PassResult(result, True)
