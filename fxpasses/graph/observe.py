"""`observe`: what a graph computes on given inputs, with every value on the way, leaving the graph module as it is."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from fxpasses.errors import RequestError
from fxpasses.graph.bits import cloned
from fxpasses.graph.calls import leaves
from fxpasses.graph.interpreter import Interpreter, in_order
from fxpasses.graph.recorded_values import recorded_value


@dataclass(frozen=True)
class Observed:
    """What a graph computed.

    Attributes:
        output: What it returned.
        births: The value of each node, by the node's name, as it was when it was made.
        finals: The same values as they were in the end, after whatever was written into them.
        returned: For each node or constant in what the graph returns, the name of the node, or None for a constant. The
            value of a node may have several leaves.
    """

    output: Any
    births: dict[str, Any]
    finals: dict[str, Any]
    returned: tuple[str | None, ...]


class _Observer(Interpreter):
    """Keeps each value, and a clone of it."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.extra_traceback = False
        self.births: dict[str, Any] = {}
        self.finals: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.births[n.name], self.finals[n.name] = cloned(value), value
        return value


def observe(
    graph_module: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, *, seed: int = 0
) -> Observed:
    """Runs the graph, as it is, on copies of its inputs; needs no compiled code, and records no gradient.

    Buffers, arguments and the random state are what they were before.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: torch.relu_(x + 1) * 2)
        >>> observed = observe(graph_module, [torch.tensor([-3.0, 1.0])])
        >>> observed.births["add"], observed.finals["add"]
        (tensor([-2.,  2.]), tensor([0., 2.]))
    """
    observer = _Observer(graph_module)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _own_buffers(graph_module):
        torch.manual_seed(seed)
        output = observer.run(*cloned(in_order(graph_module, args, kwargs or {})))
        finals = cloned(observer.finals)
    returned = leaves(graph_module.graph.output_node().args)
    names = tuple(leaf.name if isinstance(leaf, fx.Node) else None for leaf in returned)
    return Observed(cloned(output), observer.births, finals, names)


@contextmanager
def _own_buffers(module: nn.Module) -> Generator[None, None, None]:
    """Lets `module` write into clones of its buffers; not even the write counters of the real ones change."""
    originals = [(holder._buffers, dict(holder._buffers)) for holder in module.modules()]
    clones: dict[int, torch.Tensor] = {}
    for entries, tensors in originals:
        for name, tensor in tensors.items():
            if tensor is not None:
                entries[name] = clones.setdefault(id(tensor), tensor.clone())
    try:
        yield
    finally:
        for entries, tensors in originals:
            entries.update(tensors)


def example_inputs(graph_module: fx.GraphModule, *, seed: int = 0) -> tuple[Any, ...]:
    """Makes inputs of the shapes and types that the meta of the placeholders records.

    Raises:
        RequestError: A placeholder without a default has no recorded value.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> list(graph_module.graph.nodes)[0].meta["val"] = torch.empty(2, 3, device="meta")
        >>> [tuple(value.shape) for value in example_inputs(graph_module)]
        [(2, 3)]
    """
    inputs: list[Any] = []
    generator = torch.Generator().manual_seed(seed)
    for node in graph_module.graph.nodes:
        if node.op != "placeholder":
            continue
        value = recorded_value(node)
        if value is None and node.args:
            break
        if value is None or not all(type(size) is int for size in value.shape):
            raise RequestError(
                f"The placeholder {node.name!r} has no recorded shape, so that inputs cannot be made. Give inputs, "
                "or record shapes first: torch.fx.passes.shape_prop.ShapeProp(graph_module).propagate(*inputs)."
            )
        inputs.append(_random(tuple(value.shape), value.dtype, generator))
    return tuple(inputs)


def _random(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)
