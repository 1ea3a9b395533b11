"""What goes wrong with `torch.fx.passes.infra.pass_manager.PassManager`, done as its user expects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.infra.pass_manager import PassManager as TorchPassManager
from torch.fx.passes.infra.pass_manager import pass_result_wrapper

from fxpasses.errors import FalseClaimError, NotConvergedError, PassError, UnmetNeedError
from fxpasses.graph.facts import Fact
from fxpasses.manager import (
    ALL_FACTS,
    CheckClaims,
    Instrument,
    Pass,
    PassManager,
    PassResult,
    Repeat,
    Step,
    VerifyStructure,
)
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))


def noting(name: str, ran: list[str]) -> Callable[[fx.GraphModule], PassResult]:
    def run(graph_module: fx.GraphModule) -> PassResult:
        ran.append(name)
        return PassResult(graph_module, False)

    return run


def to_sigmoid(graph_module: fx.GraphModule) -> PassResult:
    for node in graph_module.graph.nodes:
        if node.target == "1":
            node.op, node.target = "call_function", torch.sigmoid
    return PassResult(graph_module, True)


def test_fault_1_a_postcondition_sees_the_result() -> None:
    seen: list[int] = []

    @dataclass(frozen=True)
    class Shortens(Pass):
        in_place: ClassVar[bool] = False

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            graph = fx.Graph()
            graph.output(graph.placeholder("x"))
            return PassResult(fx.GraphModule(nn.Module(), graph), True)

        def ensures(self, graph_module: fx.GraphModule) -> None:
            seen.append(len(graph_module.graph.nodes))

    PassManager([Shortens()])(traced())
    assert seen == [2]


def test_fault_2_all_checks_run_after_each_pass() -> None:
    seen: list[str] = []

    class Check(Instrument):
        def __init__(self, name: str) -> None:
            self.name = name

        def after_pass(self, step: Step) -> None:
            seen.append(self.name)

    PassManager([noting("a", []), noting("b", [])], instruments=[Check("first"), Check("second")])(traced())
    assert seen == ["first", "second", "first", "second"]


def test_fault_3_a_check_may_report_without_failing() -> None:
    found: list[str] = []

    class Tolerant(Instrument):
        def after_pass(self, step: Step) -> None:
            if not step.change:
                found.append(f"{step.name} did nothing")

    assert PassManager([noting("a", []), to_sigmoid], instruments=[Tolerant()])(traced()).modified
    assert found == ["run did nothing"]


def test_fault_4_a_malformed_graph_does_not_get_through() -> None:
    def breaks(graph_module: fx.GraphModule) -> PassResult:
        first, second = list(graph_module.graph.nodes)[1:3]
        second.append(first)
        return PassResult(graph_module, True)

    with pytest.raises(PassError, match="'_1' uses '_0', which only comes after it") as caught:
        PassManager([breaks], instruments=[VerifyStructure()])(traced())
    assert caught.value.pass_ is breaks


def test_fault_5_no_pass_is_dropped() -> None:
    ran: list[str] = []
    dce, fold = noting("dce", ran), noting("fold", ran)
    PassManager([dce, fold, dce])(traced())
    assert ran == ["dce", "fold", "dce"]


def test_fault_6_the_order_is_never_changed() -> None:
    shapes = Fact("shapes", lambda graph_module: "shapes" in graph_module.meta)
    ran: list[str] = []

    @dataclass(frozen=True)
    class NeedsShapes(Pass):
        needs: ClassVar[frozenset[Fact]] = frozenset({shapes})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    @dataclass(frozen=True)
    class GivesShapes(Pass):
        provides: ClassVar[frozenset[Fact]] = frozenset({shapes})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            graph_module.meta["shapes"] = True
            return PassResult(graph_module, True)

    passes = [noting("a", ran), NeedsShapes(), GivesShapes(), noting("d", ran)]
    with pytest.raises(UnmetNeedError, match=r"needs-shapes \(pass 1\) needs the fact 'shapes'"):
        PassManager(passes[1:])(traced())
    with pytest.raises(UnmetNeedError):
        PassManager(passes)(traced())
    ran.clear()
    PassManager([passes[0], passes[2], passes[1], passes[3]])(traced())
    assert ran == ["a", "d"]


def test_fault_7_what_a_pass_says_of_its_changes_is_tested() -> None:
    def denies(graph_module: fx.GraphModule) -> PassResult:
        to_sigmoid(graph_module)
        return PassResult(graph_module, False)

    with pytest.raises(FalseClaimError, match=r"denies \(pass 1\) returned modified=False, but"):
        PassManager([denies])(traced())
    with pytest.raises(FalseClaimError, match="returned modified=True, but it changed nothing"):
        PassManager([lambda given: PassResult(given, True)], instruments=[CheckClaims()])(traced())


def test_fault_8_a_failure_undoes_everything_and_names_its_pass() -> None:
    def half(graph_module: fx.GraphModule, factor: int) -> PassResult:
        to_sigmoid(graph_module)
        graph_module.recompile()
        raise ZeroDivisionError(factor)

    graph_module = traced()
    code, x = graph_module.code, torch.randn(2, 3)
    expected = graph_module(x)
    with pytest.raises(PassError, match=r"partial\(half\) \(pass 2\) raised ZeroDivisionError: 3") as caught:
        PassManager([to_sigmoid, partial(half, factor=3)])(graph_module)
    assert graph_module.code == code
    assert torch.equal(graph_module(x), expected)
    assert "sigmoid" in str(caught.value.before)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(PassError, match=rf"lambda at {__file__}:\d+ \(pass 1\)"):
        PassManager([lambda given: 1 / 0])(graph_module)


def test_fault_9_a_repetition_without_an_end_says_so() -> None:
    def to_relu(graph_module: fx.GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            if node.target is torch.sigmoid:
                node.op, node.target = "call_module", "1"
        return PassResult(graph_module, True)

    with pytest.raises(NotConvergedError, match=r"Still changing it: to_sigmoid, to_relu\. They undo each other"):
        Repeat([to_sigmoid, to_relu], limit=6)(traced())


def test_fault_10_nothing_is_compiled_for_nothing() -> None:
    compiled: list[int] = []

    class Counting(fx.GraphModule):
        def recompile(self) -> Any:
            compiled.append(1)
            return super().recompile()

    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    graph_module = Counting(model, fx.symbolic_trace(model).graph)
    compiled.clear()
    PassManager([noting("a", [])] * 10)(graph_module)
    assert len(compiled) == 0
    PassManager([to_sigmoid, *[noting("a", [])] * 9])(graph_module)
    assert len(compiled) == 1


def test_every_pass_and_pipeline_runs_inside_torchs_manager() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(4, 2))

    class Leaf(Pass):
        preserves: ClassVar[frozenset[Fact]] = ALL_FACTS

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return CollapseLeaves(["0"], root=model)(graph_module)

    inner = PassManager([NameNodes(), Repeat([NameNodes()])], instruments=[VerifyStructure(), CheckClaims()])
    manager = TorchPassManager([Leaf(), NameNodes(), inner, PruneToOutputs(["0"])], run_checks_after_each_pass=True)
    result = manager(fx.symbolic_trace(model))
    x = torch.randn(2, 3)
    assert result.modified
    assert torch.equal(result.graph_module(x)["0"], model[0](x))


def test_torchs_passes_and_wrapped_functions_run_inside_ours() -> None:
    def legacy(graph_module: fx.GraphModule) -> fx.GraphModule:
        return graph_module

    wrapped = pass_result_wrapper(legacy)
    manager = TorchPassManager([to_sigmoid])
    result = PassManager([wrapped, manager, wrapped])(traced())
    assert [each.changed for each in result.report.children] == [False, True, False]
    assert "sigmoid" in result.graph_module.code
