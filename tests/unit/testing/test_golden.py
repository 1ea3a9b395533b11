from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx

from fxpasses.testing import assert_golden


def _sine(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.target is torch.cos:
            node.target = torch.sin


def test_a_graph_that_looks_as_in_its_file(tmp_path: Path) -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.cos(x))
    path = tmp_path / "golden" / "sine.txt"
    with pytest.raises(AssertionError, match="is not there yet"):
        assert_golden(path, _sine, graph_module)
    assert_golden(path, _sine, graph_module, update=True)
    assert_golden(path, _sine, graph_module)
    assert "torch.cos" in graph_module.code
    with pytest.raises(AssertionError, match=r"(?s)looks different.*\+.*target=torch.cos"):
        assert_golden(path, lambda gm: None, graph_module)
