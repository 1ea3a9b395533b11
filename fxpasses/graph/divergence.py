"""`first_divergence`: the first node at which two graphs begin to compute different values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxpasses.graph.bits import cloned, first_difference
from fxpasses.graph.interpreter import Interpreter, in_order


@dataclass(frozen=True)
class Divergence:
    """Two nodes of one name with different values.

    Attributes:
        node: The node of the second graph.
        expected: The value in the first graph, as it was when it was made.
        actual: The value in the second graph; the exception if computing it raised one.
        difference: What differs, in words.
    """

    node: fx.Node
    expected: Any
    actual: Any
    difference: str

    def __str__(self) -> str:
        """The node, and both values."""
        return (
            f"{self.node.format_node()}\n  {self.difference}\n"
            f"  expected: {shortened(self.expected)}\n  actual:   {shortened(self.actual)}"
        )


def shortened(value: Any, width: int = 300) -> str:
    """The repr of a value in one line of limited length.

    Example:
        >>> shortened(list(range(100)), 12)
        '[0, 1, 2, 3…'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


class _Recorder(Interpreter):
    """Runs a graph and keeps a clone of each value, taken when it is made."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.extra_traceback = False
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            self.values[n.name] = error
            raise
        self.values[n.name] = cloned(value)
        return value


def values_at_birth(
    graph_module: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Runs a graph, and returns each node's value by the node's name, cloned at the moment at which it was made.

    Where a node raises, its value is the exception, and no later node has one. The graph module's buffers, the
    arguments and the random state are left as they were.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: torch.relu_(x + 1) * 2)
        >>> values_at_birth(graph_module, [torch.tensor([-3.0, 1.0])])["add"]
        tensor([-2.,  2.])
    """
    buffers = {name: buffer.clone() for name, buffer in graph_module.named_buffers()}
    recorder = _Recorder(graph_module)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            recorder.run(*in_order(graph_module, cloned(tuple(args)), cloned(dict(kwargs or {}))))
    except Exception as error:
        if not any(value is error for value in recorder.values.values()):
            raise
    finally:
        for name, buffer in graph_module.named_buffers():
            buffer.detach().copy_(buffers[name])
    return recorder.values


def first_divergence(
    before: fx.GraphModule,
    after: fx.GraphModule,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    atol: float = 0.0,
    rtol: float = 0.0,
    seed: int = 0,
) -> Divergence | None:
    """Runs two graphs on the same inputs, and returns the first node whose value differs.

    Nodes are matched by name. Where all that have a partner agree, the outputs are compared.

    Args:
        before: The graph to compare with.
        after: The graph in question.
        args: The inputs by position; they are not written.
        kwargs: The inputs by keyword.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.
        seed: What the random generator is seeded with before each of the two runs.

    Example:
        >>> before = fx.symbolic_trace(lambda x: torch.relu(x) + 1)
        >>> after = fx.symbolic_trace(lambda x: torch.relu(x) + 2)
        >>> print(first_divergence(before, after, [torch.ones(1)]))
        %add : [num_users=1] = call_function[target=operator.add](args = (%relu, 2), kwargs = {})
          1 of 1 elements differ, first at [0]: 3.0 instead of 2.0
          expected: tensor([2.])
          actual:   tensor([3.])
    """
    expected = values_at_birth(before, args, kwargs, seed=seed)
    actual = values_at_birth(after, args, kwargs, seed=seed)
    for node in after.graph.nodes:
        if node.name not in actual:
            return None
        value = actual[node.name]
        if isinstance(value, Exception):
            return Divergence(node, expected.get(node.name), value, f"raises {type(value).__name__}")
        if node.name not in expected or node.op == "placeholder":
            continue
        difference = first_difference(value, expected[node.name], atol=atol, rtol=rtol)
        if difference is not None:
            return Divergence(node, expected[node.name], value, difference)
    return None
