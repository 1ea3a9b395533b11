"""Notices, while a model is traced, what the graph will not carry over."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterable

import torch
from torch import fx, nn

from fxpasses.capture.source import user_line
from fxpasses.errors import FidelityWarning
from fxpasses.graph.calls import Loss
from fxpasses.graph.meta import scopes


def _settings() -> tuple[bool, bool, bool]:
    """Returns the settings of torch that a `with` block can change, and that a graph does not record."""
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._is_any_autocast_enabled()


class LossRecorder:
    """Collects the losses of one trace, one a module and kind.

    Made when the trace begins: what is set then, and the random streams as they are then, count as usual.
    """

    def __init__(self) -> None:
        self._usual = _settings()
        self._random = _random_state()
        self._found: dict[tuple[str, str], Loss] = {}

    def outside_of_usual(self) -> bool:
        """Whether what is recorded now runs under other settings than the trace began with."""
        return _settings() != self._usual

    def losses(self) -> tuple[Loss, ...]:
        """Returns what was noticed, in the order of the first occurrences."""
        return tuple(self._found.values())

    def note(self, module: tuple[str, type[nn.Module]], what: str, node: fx.Node | None = None) -> None:
        """Adds a loss, or a further node to one that is known."""
        path, module_type = module
        known = self._found.get((path, what))
        nodes = () if known is None else known.nodes
        if node is not None:
            nodes = (*nodes, node.name)
        where = user_line() if known is None else known.where
        self._found[path, what] = Loss(path, module_type.__name__, what, where, nodes)

    def see_node(self, module: tuple[str, type[nn.Module]], node: fx.Node) -> None:
        """Notes a node that was recorded under settings which the graph does not carry over."""
        grad, inference, _ = _settings()
        block = "torch.autocast"
        if inference != self._usual[1]:
            block = "torch.inference_mode"
        elif grad != self._usual[0]:
            block = "torch.enable_grad" if grad else "torch.no_grad"
        self.note(module, f"computes under {block}, and the graph computes the same without it", node)

    def see_constant(self, module: tuple[str, type[nn.Module]], node: fx.Node) -> None:
        """Notes a tensor that the forward drew at random: in the graph it is a constant."""
        current = _random_state()
        if not _same(current, self._random):
            self._random = current
            self.note(
                module, "drew a random tensor while it was traced, which every call of the graph will reuse", node
            )

    def see_hooks(self, path: str, module: nn.Module) -> None:
        """Notes hooks of a module that is traced through: the graph calls what is inside it, not the module."""
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            what = (
                "has hooks, which the graph will not call; what they computed while it was traced is part of the graph"
            )
            self.note((path, type(module)), what)

    def see_assignment(self, module: tuple[str, type[nn.Module]], name: str) -> None:
        """Notes an attribute that the forward sets on a module."""
        self.note(module, f"sets the attribute {name!r} in its forward, which the graph will not do")

    def see_end(self, module: tuple[str, type[nn.Module]]) -> None:
        """Notes random numbers that no recorded tensor accounts for: they decided something."""
        if not _same(_random_state(), self._random):
            self.note(
                module,
                "drew random numbers while it was traced; what they decided is the same in every call of the graph",
            )


def relevant_losses(graph_module: fx.GraphModule, losses: Iterable[Loss]) -> list[Loss]:
    """Returns those of `losses` that concern something which is still in the graph."""
    losses = list(losses)
    if not losses:
        return []
    names = {node.name for node in graph_module.graph.nodes if node.op != "placeholder"}
    paths = {scope.path for node in graph_module.graph.nodes for scope in scopes(node)} | {""}
    return [loss for loss in losses if (names.intersection(loss.nodes) if loss.nodes else loss.path in paths)]


def warn_of_losses(losses: Iterable[Loss], stacklevel: int = 2) -> None:
    """Issues one `FidelityWarning` a loss, at the caller's line."""
    for loss in dict.fromkeys(losses):
        warnings.warn(f"Not carried over from the model: {loss}.", FidelityWarning, stacklevel=stacklevel + 1)


def _random_state() -> tuple[torch.Tensor, object]:
    return torch.get_rng_state(), (random.getstate(), _numpy_state())


def _numpy_state() -> object:
    """Returns where numpy's global stream is; None if nobody imported numpy."""
    numpy = sys.modules.get("numpy.random")
    if numpy is None:
        return None
    name, keys, *place = numpy.get_state()
    return name, keys.tobytes(), place


def _same(left: tuple[torch.Tensor, object], right: tuple[torch.Tensor, object]) -> bool:
    return torch.equal(left[0], right[0]) and left[1] == right[1]
