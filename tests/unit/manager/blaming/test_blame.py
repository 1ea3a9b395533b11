from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.manager import Blame, Pass, PassManager, PassResult, blame


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


def spells_cos_as_a_method(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.cos):
        node.op, node.target = "call_method", "cos"


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


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
def test_differences_that_add_up_are_the_fault_of_the_pass_that_goes_too_far(passes: int) -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.cos(x))
    found = blame(PassManager([adds_a_little] * passes), graph_module, [torch.ones(3)], atol=0.6)
    if passes < 3:
        assert found is None
        return
    assert found is not None
    assert (found.position, found.wrong.kind) == ((2,), "other values")
    assert torch.equal(found.wrong.expected, torch.cos(torch.ones(3)))
    assert torch.equal(found.wrong.got, found.wrong.expected + 0.25 + 0.25 + 0.25)
    assert str(found.graph_module.graph) == str(graph_module.graph)
    assert found.script.startswith('"""adds_a_little, adds_a_little, adds_a_little: The graph returns something else')


def test_what_no_claim_allows_after_the_pass_before_is_found_where_all_of_them_together_allow_it() -> None:
    marked: list[fx.GraphModule] = []

    def returns_all(graph_module: fx.GraphModule) -> None:
        marked.append(graph_module)
        graph_module.graph.output_node().args = (list(graph_module.graph.nodes)[:-1],)

    returns_all.outputs_claim = "subset"

    def drops_all_but_one(graph_module: fx.GraphModule) -> None:
        if graph_module in marked:
            output = graph_module.graph.output_node()
            output.args = (output.args[0][:1],)

    found = blame(
        PassManager([returns_all, drops_all_but_one]), fx.symbolic_trace(lambda x: torch.cos(x)), [torch.ones(3)]
    )
    assert found is not None
    assert (found.pass_, found.wrong.kind) == (drops_all_but_one, "other values")
    assert found.wrong.text == "The graph returns something else."
    assert [node.name for node in found.graph_module.graph.nodes] == ["x", "cos", "output"]


def clears_users(graph_module: fx.GraphModule) -> None:
    next(iter(graph_module.graph.nodes)).users.clear()


@pytest.mark.parametrize(
    ("wrong", "kind"), [(takes_relu_for_sigmoid, "other values"), (clears_users, "malformed users"), (None, None)]
)
def test_a_graph_that_is_malformed_from_the_start_is_nobodys_fault(wrong: Any, kind: str | None) -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.cos(torch.relu(x + 1)).sum(dim=0))
    ShapeProp(graph_module).propagate(torch.ones(3, 2))
    node_of = {node.name: node for node in graph_module.graph.nodes}
    node_of["sum_1"].kwargs = {"dim": 0, "keepdim": True}  # the recorded shape is stale from now on
    found = blame(PassManager([spells_cos_as_a_method, *([wrong] if wrong else [])]), graph_module, [torch.ones(3, 2)])
    assert (found and found.wrong.kind) == kind


def test_a_malformed_graph_is_found_even_if_a_later_pass_makes_it_anew() -> None:
    def makes_anew(graph_module: fx.GraphModule) -> None:
        graph = fx.Graph()
        graph.output(graph.graph_copy(graph_module.graph, {}))
        graph_module.graph = graph

    graph_module = fx.symbolic_trace(lambda x: torch.cos(torch.relu(x + 1)))
    found = blame(PassManager([spells_cos_as_a_method, clears_users, makes_anew]), graph_module, [torch.ones(3)])
    assert found is not None
    assert (found.position, found.wrong.kind) == ((1,), "malformed users")


@dataclass(frozen=True)
class CountsNothing(Pass):
    def call(self, graph_module: fx.GraphModule) -> PassResult:
        takes_relu_for_sigmoid(graph_module)
        return PassResult(graph_module, True)


@dataclass(frozen=True)
class Counts(Pass):
    """Says that it made so many rewrites, or nothing of them; may go wrong only where there is no limit."""

    told: int | None = None
    minds_a_limit: bool = True
    rewrite_limit: int | None = None

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        if self.minds_a_limit or self.rewrite_limit is None:
            takes_relu_for_sigmoid(graph_module)
        return PassResult(graph_module, True, **({} if self.told is None else {"rewrites": self.told}))


@pytest.mark.parametrize(
    ("wrong", "rewrite"),
    [
        (CountsNothing(), None),
        (Counts(), None),
        (Counts(told=0), None),
        (Counts(told=1), 1),
        (Counts(told=1, minds_a_limit=False), None),
    ],
)
def test_a_rewrite_is_blamed_where_the_pass_counts_them_and_is_wrong_with_so_many(
    wrong: Pass, rewrite: int | None
) -> None:
    found = blamed(wrong)
    assert found is not None
    assert (found.pass_, found.wrong.kind, found.rewrite) == (wrong, "other values", rewrite)


def takes_relu_for_sigmoid_if_fast(graph_module: fx.GraphModule) -> None:
    if graph_module.meta.get("mode") == "fast":
        takes_relu_for_sigmoid(graph_module)


def test_what_is_attached_to_the_graph_module_is_kept_while_the_graph_is_reduced() -> None:
    graph_module = fx.symbolic_trace(lambda x: torch.cos(torch.relu(x + 1)))
    graph_module.meta["mode"] = "fast"
    found = blame(PassManager([takes_relu_for_sigmoid_if_fast]), graph_module, [torch.ones(3)])
    assert found is not None
    assert [node.name for node in found.graph_module.graph.nodes] == ["x", "relu", "output"]
    assert found.graph_module.meta == {"mode": "fast"}
    assert "graph_module.meta['mode'] = torch.load(" in found.script
