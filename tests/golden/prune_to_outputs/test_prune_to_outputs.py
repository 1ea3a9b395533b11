from __future__ import annotations

import pytest
from support import examples

from fxpasses.capture import capture_symbolic
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs

_CASES = {
    "inner_block": (examples.Stacked, ["blocks.0"]),
    "nested": (examples.Stacked, ["blocks", "blocks.1", "blocks.1.relu_1"]),
    "input": (examples.Stacked, {"x": "image"}),
    "tuple": (lambda: examples.UsesSplit("tuple"), ["split"]),
    "named_tuple": (lambda: examples.UsesSplit("named"), ["split"]),
    "in_place": (examples.InPlace, ["linear", "last"]),
}


@pytest.mark.parametrize("case", _CASES)
def test_pruning(case: str, golden) -> None:
    make, names = _CASES[case]
    graph_module = NameNodes()(capture_symbolic(make())).graph_module
    golden(graph_module.graph, f"{case}.before")
    golden(PruneToOutputs(names)(graph_module).graph_module.graph, f"{case}.after")
