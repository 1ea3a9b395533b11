"""`minimize`: makes a graph that fails as small as it can be while it still fails.

The reducer knows nothing of what failing means: it is given a predicate, and proposes ever smaller graphs. What it
may do to a graph are the named deltas of `fxpasses.graph.reduce_deltas`, applied in turn until none helps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.fx.graph import CodeGen

from fxpasses.errors import RequestError
from fxpasses.graph.bits import cloned
from fxpasses.graph.reduce_deltas import DELTAS, Candidate, Delta
from fxpasses.graph.serialize import copy_graph

Fails = Callable[[fx.GraphModule, tuple[Any, ...]], Hashable]


@dataclass(frozen=True)
class Reduced:
    """The outcome of `minimize`; unpacks as `(graph_module, args)`.

    Attributes:
        graph_module: The smallest failing graph that was found; its modules are those of the original.
        args: Inputs with which it fails, one a placeholder.
        queries: How often the predicate was asked.
        steps: The deltas that made it smaller, in order, each with the number of nodes after it.
    """

    graph_module: fx.GraphModule
    args: tuple[Any, ...]
    queries: int
    steps: tuple[tuple[str, int], ...]

    def __iter__(self) -> Iterator[Any]:
        """The graph module and the inputs."""
        return iter((self.graph_module, self.args))


@dataclass
class _Search:
    fails: Fails
    wanted: Hashable
    current: Candidate
    max_queries: int
    queries: int = 0
    steps: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    seen: set[str] = field(default_factory=set[str])

    def accept(self, name: str, candidate: Candidate | None) -> bool:
        """Ask whether a candidate still fails, and go on from it if so."""
        if candidate is None or self.queries >= self.max_queries or not self.is_new(candidate):
            return False
        if self.verdict(candidate) != self.wanted:
            return False
        self.current = candidate
        self.steps.append((name, len(candidate.graph_module.graph.nodes)))
        return True

    def is_new(self, candidate: Candidate) -> bool:
        """Whether nothing was asked about a candidate yet."""
        shapes = [tuple(arg.shape) if isinstance(arg, torch.Tensor) else repr(arg)[:99] for arg in candidate.args]
        key = f"{candidate.graph_module.graph}{shapes}"
        if key in self.seen:
            return False
        self.seen.add(key)
        return True

    def verdict(self, candidate: Candidate) -> Hashable:
        """Ask whether and how a candidate fails."""
        self.queries += 1
        with torch.random.fork_rng(devices=[]):
            try:
                return self.fails(candidate.graph_module, cloned(candidate.args))
            except Exception:
                # The candidate itself is broken: it cannot run, say, or cannot be what the predicate expects.
                return False


def minimize(
    graph_module: fx.GraphModule,
    args: Sequence[Any],
    fails: Fails,
    *,
    deltas: Sequence[str] = tuple(DELTAS),
    max_queries: int = 2000,
) -> Reduced:
    """Reduces a failing graph and its inputs to a small one that fails in the same way.

    Args:
        graph_module: The graph that fails; it is not changed.
        args: Its inputs, one a placeholder (those with a default may be left out at the end).
        fails: Tells whether `(graph_module, args)` fails: whatever is not false is a failure, and a smaller graph
            counts only if it gives an equal answer. Let it return what kind of failure it is, lest the reduction
            slide from one bug to another. An exception counts as not failing.
        deltas: Which reductions to try, and in which order.
        max_queries: How often `fails` may be asked.

    Raises:
        RequestError: A delta has no such name, or the graph does not fail to begin with.

    Example:
        >>> def model(x):
        ...     y = torch.sin(torch.cos(x)) + 1
        ...     return torch.exp(torch.tanh(y) * y - x)
        >>> def fails(graph_module, args):
        ...     return any(node.target is torch.tanh for node in graph_module.graph.nodes)
        >>> reduced = minimize(fx.symbolic_trace(model), [torch.ones(3)], fails)
        >>> print(reduced.graph_module.code.strip())
        def forward(self, x):
            tanh = torch.tanh(x);  x = None
            return tanh
    """
    unknown = [name for name in deltas if name not in DELTAS]
    if unknown:
        raise RequestError(f"no delta is called {unknown[0]!r}; there are {', '.join(DELTAS)}")
    start = _start(graph_module, args)
    search = _Search(fails, True, start, max_queries)
    search.is_new(start)  # from now on it is not
    search.wanted = search.verdict(start)
    if not search.wanted:
        raise RequestError("the graph does not fail: `fails` was false for the graph and the inputs that were given")
    while _one_round(search, [(name, DELTAS[name]) for name in deltas]):
        pass
    return Reduced(search.current.graph_module, search.current.args, search.queries, tuple(search.steps))


def _start(graph_module: fx.GraphModule, args: Sequence[Any]) -> Candidate:
    """A copy that takes exactly one argument a placeholder, so that inputs can come and go."""
    graph = copy_graph(graph_module.graph)
    graph.set_codegen(CodeGen())
    complete = list(args)
    for index, node in enumerate(node for node in graph.nodes if node.op == "placeholder"):
        if index >= len(complete) and node.args:
            complete.append(node.args[0])
        node.args = ()
    return Candidate(fx.GraphModule(graph_module, graph), tuple(complete))


def _one_round(search: _Search, deltas: Sequence[tuple[str, Delta]]) -> bool:
    before = search.current
    for name, delta in deltas:
        delta(lambda: search.current, lambda candidate, name=name: search.accept(name, candidate))
    return search.current is not before
