from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

from fxpasses.manager import Blame, PassManager, blame


def takes_relu_for_sigmoid(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        node.target = torch.sigmoid


def adds_a_little(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    with graph_module.graph.inserting_before(output):
        output.args = (graph_module.graph.call_function(torch.add, (*output.args, 0.25)),)


def reshapes_in_vain(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        node.op, node.target, node.args = "call_method", "reshape", (*node.args, 7)


def blamed(wrong: Any, **options: Any) -> Blame | None:
    graph_module = fx.symbolic_trace(lambda x: torch.cos(torch.relu(x + 1)))
    return blame(PassManager([lambda _: None, wrong]), graph_module, [torch.ones(3)], **options)


def test_it_says_which_pass_is_wrong_and_how_and_shows_the_graph() -> None:
    found = blamed(takes_relu_for_sigmoid)
    assert found is not None
    first, second, *rest = str(found).splitlines()
    assert first == f"takes_relu_for_sigmoid (pass 2): {found.wrong.text}"
    assert second == "A graph that shows it:"
    assert "\n".join(rest) == str(found.graph_module.graph)


def test_a_pass_after_which_the_graph_does_not_run_is_wrong() -> None:
    found = blamed(reshapes_in_vain)
    assert found is not None
    assert (found.position, found.wrong.kind) == ((1,), "does not run")
    assert [node.name for node in found.graph_module.graph.nodes] == ["x", "relu", "output"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "seed=0, atol=0.0, rtol=0.0"),
        ({"seed": 3, "atol": 0.125, "rtol": 0.0625}, "seed=3, atol=0.125, rtol=0.0625"),
    ],
)
def test_the_script_compares_as_blame_did(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    found = blamed(adds_a_little, **options)
    assert found is not None
    assert f"Judgement(make_inputs(), {told})" in found.script
    assert found.script.count(f"torch.manual_seed({options.get('seed', 0)})") == 2
    found.write(tmp_path / "script.py")
    assert (tmp_path / "script.py").read_text(encoding="utf-8") == found.script


@pytest.mark.parametrize("options", [{"atol": 0.5}, {"rtol": 2.0}])
def test_what_is_within_the_tolerance_is_not_wrong(options: dict[str, Any]) -> None:
    assert blamed(adds_a_little, **options) is None
