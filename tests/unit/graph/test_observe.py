"""What a run of a graph that is observed does to the world around it."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from fxpasses.graph.observe import observe


def test_what_an_operation_raises_is_raised_as_it_is() -> None:
    graph = fx.Graph()
    graph.output(graph.call_method("__getitem__", (graph.placeholder("values"), "missing")))
    with pytest.raises(KeyError, match=r"^'missing'$"):
        observe(fx.GraphModule({}, graph), [{"present": torch.ones(1)}])
