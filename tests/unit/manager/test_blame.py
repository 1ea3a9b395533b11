from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from fxpasses.errors import RequestError
from fxpasses.manager import ALL_FACTS, Pass, PassManager, PassResult, Repeat, blame
from fxpasses.manager.blaming.copies import copied, copied_without_tensors, writes_tensors
from fxpasses.manager.blaming.judge import Judgement


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.norm(self.first(x)))
        for _ in range(4):
            y = torch.relu(self.second(torch.cos(y)) + x)
        return torch.exp(y) - y


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(Model().eval())


def harmless(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.op == "call_function" and node.target is torch.exp:
            node.op, node.target = "call_method", "exp"


def takes_tanh_for_sigmoid(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.target is torch.tanh:
            node.target = torch.sigmoid


def raises_at_relu(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.target is torch.relu:
            raise NotImplementedError("relu")


def empties_users(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.target is torch.cos:
            node.users.clear()


def writes_a_parameter(graph_module: fx.GraphModule) -> None:
    with torch.no_grad():
        for parameter in graph_module.parameters():
            parameter.add_(1)


@dataclass(frozen=True)
class CosToSin(Pass):
    """Right for one of the operations, wrong from the third on."""

    rewrite_limit: int | None = None

    preserves = ALL_FACTS

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        found = [node for node in graph_module.graph.nodes if node.target is torch.cos][: self.rewrite_limit]
        for index, node in enumerate(found):
            node.op, node.target = "call_method", "cos" if index < 2 else "sin"
        return PassResult(graph_module, bool(found), rewrites=len(found))


WRONG: list[tuple[Callable[[fx.GraphModule], object], str, set[object]]] = [
    (takes_tanh_for_sigmoid, "other values", {torch.tanh}),
    (raises_at_relu, "raises NotImplementedError", {torch.relu}),
    (empties_users, "malformed users", {torch.cos}),
]


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize(("wrong", "kind", "targets"), WRONG)
def test_names_the_wrong_pass_and_reduces_the_graph(
    wrong: Callable[[fx.GraphModule], object], kind: str, targets: set[object], place: int
) -> None:
    graph_module = traced()
    text = str(graph_module.graph)
    passes = [harmless] * 3
    found = blame(PassManager([*passes[:place], wrong, *passes[place:]]), graph_module, [torch.randn(3, 4)])
    assert found is not None
    assert found.pass_ is wrong
    assert found.position == (place,)
    assert found.wrong.kind == kind
    assert {node.target for node in found.graph_module.graph.nodes if node.op.startswith("call_")} == targets
    assert str(graph_module.graph) == text


def test_names_the_first_wrong_rewrite() -> None:
    found = blame(PassManager([harmless, CosToSin()]), traced(), [torch.randn(3, 4)])
    assert found is not None
    assert (found.position, found.rewrite) == ((1,), 3)
    assert "cos-to-sin (pass 2, rewrite 3): The graph returns something else" in str(found)


def test_finds_a_wrong_pass_inside_of_nested_pipelines() -> None:
    manager = PassManager([harmless, PassManager([Repeat([harmless, takes_tanh_for_sigmoid])])])
    found = blame(manager, traced(), [torch.randn(3, 4)])
    assert found is not None
    assert found.position == (1, 0, 1)


def test_finds_a_wrong_pass_whose_result_a_later_one_hides() -> None:
    def returns_x(graph_module: fx.GraphModule) -> None:
        graph_module.graph.output_node().args = (next(iter(graph_module.graph.nodes)),)

    returns_x.outputs_claim = "subset"
    found = blame(PassManager([harmless, takes_tanh_for_sigmoid, returns_x]), traced(), [torch.randn(3, 4)])
    assert found is not None
    assert found.pass_ is takes_tanh_for_sigmoid


def test_finds_writes_into_parameters_and_leaves_them_alone() -> None:
    graph_module = traced()
    before = [parameter.clone() for parameter in graph_module.parameters()]
    found = blame(PassManager([writes_a_parameter]), graph_module, [torch.randn(3, 4)])
    assert found is not None
    assert found.wrong.kind == "other values"
    assert found.operations == 1
    assert all(map(torch.equal, before, graph_module.parameters()))


def test_blames_nobody_where_nothing_is_wrong() -> None:
    assert blame(PassManager([harmless, harmless]), traced(), [torch.randn(3, 4)]) is None


def test_inputs_on_which_the_graph_cannot_run_are_refused() -> None:
    with pytest.raises(RequestError, match="cannot be run on these inputs even before the first pass"):
        blame(PassManager([harmless]), traced(), [torch.randn(3, 5)])


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_the_script_shows_it_by_itself(scale: float, tmp_path: Path) -> None:
    """With parameters made at random, and with those of the model where only they show it."""
    (tmp_path / "own_passes.py").write_text(
        "import torch\n"
        "def drop_cos(graph_module):\n"
        "    for node in list(graph_module.graph.nodes):\n"
        f"        if node.target is torch.cos and float(graph_module.norm.running_mean.sum()) == {0.0 if scale else 40.0}:\n"
        "            node.target = torch.sin\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        drop_cos = __import__("own_passes").drop_cos
        model = Model().eval()
        if not scale:
            model.norm.running_mean.fill_(10.0)
        found = blame(PassManager([harmless, drop_cos]), fx.symbolic_trace(model), [torch.randn(3, 4)])
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("own_passes", None)
    assert found is not None
    assert "own_passes.drop_cos" in found.script
    script = tmp_path / "reproducer.py"
    found.write(script)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    text = ran.stdout.splitlines()[0]
    assert text.startswith("The graph returns something else than before")
    assert text in found.script
    assert "expected: " in ran.stdout
    assert "got: " in ran.stdout


def test_copies_share_what_they_say() -> None:
    graph_module = traced()
    whole, light = copied(graph_module), copied_without_tensors(graph_module)
    x = torch.randn(3, 4)
    assert torch.equal(whole(x), graph_module(x))
    assert torch.equal(light(x), graph_module(x))
    assert whole.first.weight is not graph_module.first.weight
    assert light.first.weight is graph_module.first.weight
    assert light.first is not graph_module.first
    assert writes_tensors(writes_a_parameter, graph_module)
    assert not writes_tensors(harmless, graph_module)


def test_what_was_malformed_before_is_nobodys_fault() -> None:
    graph_module = traced()
    next(node for node in graph_module.graph.nodes if node.target is torch.exp).name = "class"
    assert Judgement([torch.randn(3, 4)]).judge(PassManager([harmless]), graph_module) is None
