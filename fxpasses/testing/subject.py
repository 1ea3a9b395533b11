"""What the laws are checked on: a graph module with inputs, of which each law gets copies of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from torch import fx, nn

from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.bits import cloned
from fxpasses.graph.empty_dicts import empty_dicts_copied
from fxpasses.testing.case import Case
from fxpasses.testing.outcome import Mode, Outcome, run

Trace = Callable[[nn.Module], fx.GraphModule]


def example_inputs(graph_module: fx.GraphModule) -> dict[str, Any]:
    """The inputs that the placeholders of a graph hold in `meta["example_value"]`, by their names.

    Raises:
        ArgumentTypeError: A placeholder without a default holds none.

    Example:
        >>> import torch
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> next(iter(graph_module.graph.nodes)).meta["example_value"] = torch.ones(1)
        >>> example_inputs(graph_module)
        {'x': tensor([1.])}
    """
    inputs: dict[str, Any] = {}
    for node in graph_module.graph.nodes:
        if node.op != "placeholder":
            continue
        if "example_value" in node.meta:
            inputs[node.target] = node.meta["example_value"]
        elif not node.args:
            raise ArgumentTypeError(
                f"the graph needs inputs: give `args`, or put one into `meta['example_value']` of {node.name!r}"
            )
    return inputs


@dataclass(frozen=True)
class Subject:
    """A graph module with inputs; nothing that is handed out is shared with it.

    Attributes:
        origin: What the user gave: a case, a graph module or a module.
        args: The inputs by position.
        kwargs: The inputs by keyword.
        trace: How a module becomes a graph module.
        module: The module, if it was made for this subject and need not be copied.
    """

    origin: Any
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trace: Trace = fx.symbolic_trace
    module: nn.Module | None = None

    @classmethod
    def of(
        cls,
        origin: Case | nn.Module,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        trace: Trace = fx.symbolic_trace,
    ) -> Subject:
        """A subject from whatever a check was called with.

        Raises:
            ArgumentTypeError: It is neither a case nor a module, or its inputs are missing.
        """
        if isinstance(origin, Case):
            return cls._of_case(origin, trace)
        if not isinstance(origin, nn.Module):
            raise ArgumentTypeError(f"expected a Case, a GraphModule or a Module, got a {type(origin).__name__}")
        if args is None and kwargs is None and isinstance(origin, fx.GraphModule):
            return cls(origin, (), example_inputs(origin), trace)
        return cls(origin, tuple(args or ()), dict(kwargs or {}), trace)

    @classmethod
    def _of_case(cls, case: Case, trace: Trace) -> Subject:
        if case.make_graph is None or trace is not fx.symbolic_trace:
            built = case.build()
            return cls(case, built.args, built.kwargs, trace, built.module)
        graph_module = case.make_graph()
        return cls(case, (), example_inputs(graph_module), trace, graph_module)

    @cached_property
    def before(self) -> fx.GraphModule:
        """The graph module that no pass has seen; a law may run it, and must not change it."""
        module = copy.deepcopy(self.origin) if self.module is None else self.module
        return module if isinstance(module, fx.GraphModule) else self.trace(module)

    def fresh(self) -> fx.GraphModule:
        """A copy to hand to a pass."""
        return deep_copy(self.before)

    def outcome(self, mode: Mode, seed: int = 0) -> Outcome:
        """What a run of `before` does; one run serves all laws."""
        return self._outcomes(mode, seed)

    @cached_property
    def _outcomes(self) -> Callable[[Mode, int], Outcome]:
        return cache(lambda mode, seed: run(self.before, *self.inputs(), mode=mode, seed=seed))

    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies of the inputs to call a graph with."""
        return cloned(tuple(self.args)), cloned(dict(self.kwargs))


def deep_copy(graph_module: fx.GraphModule) -> fx.GraphModule:
    """A deep copy in which every module is in the same mode as in the original.

    Example:
        >>> deep_copy(fx.symbolic_trace(nn.Sequential(nn.Dropout())).eval()).training
        False
    """
    copied = copy.deepcopy(graph_module, empty_dicts_copied(graph_module))
    modes = {path: module.training for path, module in graph_module.named_modules(remove_duplicate=False)}
    for path, module in copied.named_modules(remove_duplicate=False):
        module.training = modes.get(path, module.training)
    return copied
