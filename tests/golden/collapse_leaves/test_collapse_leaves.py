from __future__ import annotations

import pytest
from support import examples

from fxpasses.capture import capture_symbolic
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes

_CASES = {
    "residual": (examples.Stacked, [examples.Residual]),
    "one_path": (examples.Stacked, ["blocks.1"]),
    "called_twice": (examples.CalledTwice, [examples.Residual]),
    "returns_tuple": (lambda: examples.UsesSplit("tuple"), [examples.Split]),
    "returns_dict": (lambda: examples.UsesSplit("dict"), [examples.Split]),
}


@pytest.mark.parametrize("case", _CASES)
def test_collapsing(case: str, golden) -> None:
    make, leaves = _CASES[case]
    graph_module = NameNodes()(capture_symbolic(make())).graph_module
    golden(graph_module.graph, f"{case}.before")
    golden(CollapseLeaves(leaves)(graph_module).graph_module.graph, f"{case}.after")
