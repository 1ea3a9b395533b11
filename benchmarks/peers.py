"""What others offer for the same purpose."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import fx, nn
from torchvision.models import feature_extraction as torchvision_extraction


def torchvision_extractor(model: nn.Module, names: list[str]) -> Any:
    """Makes torchvision's extractor; what it says about differences between the modes is not wanted here."""
    return torchvision_extraction.create_feature_extractor(model, names, suppress_diff_warning=True)


@contextmanager
def quick_torchvision_names() -> Generator[None]:
    """Lets torchvision count names in a dict instead of searching all earlier ones for each.

    It gives the same names to models like the chains here and keeps the same objects, but tens of thousands of nodes take
    seconds, not the better part of an hour. For measuring memory, never time.
    """

    def get_node_qualname(tracer: Any, module_qualname: str, node: fx.Node) -> str:
        name = module_qualname
        if node.op != "call_module":
            name = f"{name}.{node}" if name else str(node)
        name = re.sub(r"(?<=.)_[0-9]+$", "", name)
        counts = vars(tracer).setdefault("_counts_of_names", {})
        seen = counts[name] = counts.get(name, -1) + 1
        return f"{name}_{seen}" if seen else name

    with mock.patch.object(torchvision_extraction.NodePathTracer, "_get_node_qualname", get_node_qualname):
        yield


def torchvision_names(model: nn.Module) -> tuple[list[str], list[str]]:
    """Returns torchvision's names of the nodes in both modes."""
    return torchvision_extraction.get_graph_node_names(model, suppress_diff_warning=True)


def two_bare_traces(model: nn.Module) -> Callable[[], object]:
    """Traces in train and in eval mode, as anybody does who traces at all, and does nothing else."""

    def trace_twice() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fx.Tracer().trace(model.train()), fx.Tracer().trace(model.eval())

    return trace_twice
