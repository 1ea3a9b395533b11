"""The tracers that torchvision's module offers, over the tracer of our own capture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from fxpasses.capture.tracing.tracer import CaptureTracer
from fxpasses.passes.name_nodes import exact_names


class LeafModuleAwareTracer(CaptureTracer):
    """An `fx.Tracer` that does not trace into modules of given classes.

    Used directly it stores tensor constants of the forward on the model, as any `fx.Tracer` does: a
    `GraphModule(model, graph)` looks for them there.

    Args:
        leaf_modules: Classes of modules that become one node each, besides those of `torch.nn`.

    Positional and other keyword arguments are those of `fx.Tracer`.
    """

    def __init__(self, *args: Any, leaf_modules: Iterable[type[nn.Module]] = (), **kwargs: Any) -> None:
        super().__init__(leaf_modules, *args, **kwargs)

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """Traces `root`; see `fx.Tracer.trace`."""
        graph = super().trace(root, concrete_args)
        for name, value in self.constants.items():
            setattr(self.root, name, value)
        return graph


class NodePathTracer(LeafModuleAwareTracer):
    """A tracer that names the nodes which it makes: `node_to_qualname` holds the names after a trace.

    Example:
        >>> tracer = NodePathTracer()
        >>> graph = tracer.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> list(tracer.node_to_qualname.values())
        ['input', '0', '1']
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.node_to_qualname: dict[fx.Node, str] = {}

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        """Traces `root` and names the nodes."""
        graph = super().trace(root, concrete_args)
        nodes = [node for node in graph.nodes if node.op != "output"]
        self.node_to_qualname = exact_names(nodes, {*self.num_calls})
        return graph
