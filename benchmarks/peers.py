"""What others offer for the same purpose."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torchvision.models import feature_extraction as torchvision_extraction


def torchvision_extractor(model: nn.Module, names: list[str]) -> Any:
    """Makes torchvision's extractor; what it says about differences between the modes is not wanted here."""
    return torchvision_extraction.create_feature_extractor(model, names, suppress_diff_warning=True)


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
