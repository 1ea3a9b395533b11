from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.infra.pass_base import PassResult as TorchPassResult

from fxpasses.errors import ArgumentTypeError, FalseClaimError, PassError, UnmetNeedError
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.manager import ALL_FACTS, Pass, PassManager, PassResult, VerifyStructure
from fxpasses.passes.name_nodes import NameNodes


class TwoLinears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


def relu_of(graph_module: fx.GraphModule) -> fx.Node:
    return next(node for node in graph_module.graph.nodes if node.target in (torch.relu, torch.sigmoid))


def to_sigmoid(graph_module: fx.GraphModule) -> PassResult:
    relu_of(graph_module).target = torch.sigmoid
    return PassResult(graph_module, True)


def nothing(graph_module: fx.GraphModule) -> PassResult:
    return PassResult(graph_module, False)


def compiled(graph_module: fx.GraphModule) -> Callable[..., object]:
    return type(graph_module).forward


@dataclass(frozen=True)
class NeedsNames(Pass):
    needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    preserves: ClassVar[frozenset[Fact]] = ALL_FACTS

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@dataclass(frozen=True)
class LosesNames(Pass):
    preserves: ClassVar[frozenset[Fact]] = frozenset({CALLS})

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@dataclass(frozen=True)
class Broken(Pass):
    def call(self, graph_module: fx.GraphModule) -> PassResult:
        relu_of(graph_module).replace_all_uses_with(next(iter(graph_module.graph.nodes)))
        raise RuntimeError("halfway")


def test_runs_the_passes_in_the_order_given_and_keeps_each_result() -> None:
    order: list[str] = []

    def named(name: str) -> Callable[[fx.GraphModule], PassResult]:
        def run(graph_module: fx.GraphModule) -> PassResult:
            order.append(name)
            return PassResult(graph_module, False, who=name)

        return run

    once = named("a")
    result = PassManager([once, named("b"), once])(fx.symbolic_trace(TwoLinears()))
    assert order == ["a", "b", "a"]
    assert [each.who for each in result.results] == ["a", "b", "a"]


def test_unpacks_as_torch_expects() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    found, modified = PassManager([to_sigmoid])(graph_module)
    assert found is graph_module
    assert modified is True


def test_accepts_what_torch_passes_return() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())

    def torch_result(graph_module: fx.GraphModule) -> TorchPassResult:
        return TorchPassResult(graph_module, False)

    def none(graph_module: fx.GraphModule) -> None:
        pass

    def the_module(graph_module: fx.GraphModule) -> fx.GraphModule:
        return graph_module

    assert not PassManager([torch_result, none, the_module])(graph_module).modified


def test_a_function_that_returns_none_is_measured() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())

    def in_silence(graph_module: fx.GraphModule) -> None:
        relu_of(graph_module).target = torch.sigmoid

    assert PassManager([in_silence])(graph_module).modified


def test_the_code_is_generated_once_and_only_if_something_changed() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    before = compiled(graph_module)
    PassManager([nothing, nothing])(graph_module)
    assert compiled(graph_module) is before
    PassManager([to_sigmoid, nothing])(graph_module)
    assert "sigmoid" in graph_module.code


def test_names_alone_do_not_compile() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    before = compiled(graph_module)
    assert PassManager([NameNodes()])(graph_module).modified
    assert compiled(graph_module) is before


def test_an_unmet_need_is_an_error_before_anything_runs() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    with pytest.raises(UnmetNeedError, match=r"needs-names \(pass 2\) needs the fact 'names'") as caught:
        PassManager([to_sigmoid_declared(), NeedsNames()])(graph_module)
    assert caught.value.position == (1,)
    assert relu_of(graph_module).target is torch.relu


def to_sigmoid_declared() -> Pass:
    @dataclass(frozen=True)
    class ToSigmoid(Pass):
        preserves: ClassVar[frozenset[Fact]] = ALL_FACTS

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return to_sigmoid(graph_module)

    return ToSigmoid()


def test_a_fact_that_holds_already_needs_no_provider() -> None:
    graph_module = NameNodes()(fx.symbolic_trace(TwoLinears())).graph_module
    PassManager([NeedsNames()])(graph_module)


def test_what_a_pass_does_not_preserve_is_lost_to_later_needs() -> None:
    graph_module = NameNodes()(fx.symbolic_trace(TwoLinears())).graph_module
    with pytest.raises(UnmetNeedError, match=r"loses-names .* does not preserve it"):
        PassManager([LosesNames(), NeedsNames()])(graph_module)
    PassManager([LosesNames(), NameNodes(), NeedsNames()])(graph_module)


def test_behind_a_function_a_need_is_tested_when_its_turn_comes() -> None:
    def unname(graph_module: fx.GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            node.meta.pop("custom", None)
        return PassResult(graph_module, True)

    graph_module = NameNodes()(fx.symbolic_trace(TwoLinears())).graph_module
    PassManager([nothing, NeedsNames()])(graph_module)
    with pytest.raises(UnmetNeedError, match="when its turn comes"):
        PassManager([to_sigmoid, unname, NeedsNames()])(graph_module)
    assert NAMES.holds(graph_module)
    assert relu_of(graph_module).target is torch.relu


def test_a_pass_that_raises_leaves_everything_as_it_was() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    text, code = str(graph_module.graph), compiled(graph_module)
    with pytest.raises(PassError, match=r"broken \(pass 2\) raised RuntimeError: halfway") as caught:
        PassManager([to_sigmoid, Broken()])(graph_module)
    assert str(graph_module.graph) == text
    assert compiled(graph_module) is code
    assert caught.value.pass_ == Broken()
    assert caught.value.position == (1,)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "sigmoid" in str(caught.value.before)
    assert len(relu_of_graph(caught.value.before).users) == 1
    assert len(relu_of_graph(caught.value.after).users) == 0


def test_without_undoing_the_error_still_names_the_pass_and_has_both_graphs() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    with pytest.raises(PassError, match=r"broken \(pass 2\) raised .*\n.*is as the pass left it") as caught:
        PassManager([to_sigmoid, Broken()], undo=False)(graph_module)
    assert caught.value.position == (1,)
    assert relu_of_graph(caught.value.before).target is torch.sigmoid


def relu_of_graph(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.target in (torch.relu, torch.sigmoid))


def test_a_nested_pipeline_fails_with_the_place_of_the_pass_inside() -> None:
    graph_module = fx.symbolic_trace(TwoLinears())
    with pytest.raises(PassError, match=r"broken \(pass 2\.1\)") as caught:
        PassManager([nothing, PassManager([Broken()])])(graph_module)
    assert caught.value.position == (1, 0)


def test_an_interrupt_leaves_everything_as_it_was() -> None:
    def interrupted(graph_module: fx.GraphModule) -> PassResult:
        to_sigmoid(graph_module)
        raise KeyboardInterrupt

    graph_module = fx.symbolic_trace(TwoLinears())
    with pytest.raises(KeyboardInterrupt):
        PassManager([interrupted])(graph_module)
    assert relu_of(graph_module).target is torch.relu


def test_a_pass_that_denies_its_change_is_found_out() -> None:
    def liar(graph_module: fx.GraphModule) -> PassResult:
        to_sigmoid(graph_module)
        return PassResult(graph_module, False)

    graph_module = fx.symbolic_trace(TwoLinears())
    with pytest.raises(FalseClaimError, match=r"liar .* edited relu.target"):
        PassManager([nothing, liar])(graph_module)
    assert relu_of(graph_module).target is torch.relu


def test_a_write_into_a_parameter_is_a_change() -> None:
    def halve(graph_module: fx.GraphModule) -> None:
        with torch.no_grad():
            graph_module.first.weight.mul_(0.5)

    assert PassManager([halve])(fx.symbolic_trace(TwoLinears())).modified


def test_an_in_place_pass_returns_what_it_was_given() -> None:
    @dataclass(frozen=True)
    class Copies(Pass):
        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(fx.GraphModule(graph_module, graph_module.graph), True)

    with pytest.raises(FalseClaimError, match="declares in_place=True"):
        PassManager([Copies()])(fx.symbolic_trace(TwoLinears()))


def test_a_functional_pass_leaves_what_it_was_given() -> None:
    @dataclass(frozen=True)
    class InPlaceAfterAll(Pass):
        in_place: ClassVar[bool] = False

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return to_sigmoid(graph_module)

    with pytest.raises(FalseClaimError, match="declares in_place=False"):
        PassManager([InPlaceAfterAll()])(fx.symbolic_trace(TwoLinears()))


def test_the_postcondition_sees_the_result() -> None:
    seen: list[fx.GraphModule] = []

    @dataclass(frozen=True)
    class Functional(Pass):
        in_place: ClassVar[bool] = False

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            copied = fx.GraphModule(graph_module, fx.Graph())
            copied.graph.graph_copy(graph_module.graph, {})
            copied.graph.output(next(iter(copied.graph.nodes)))
            return PassResult(copied, True)

        def ensures(self, graph_module: fx.GraphModule) -> None:
            seen.append(graph_module)

    result = PassManager([Functional()])(fx.symbolic_trace(TwoLinears()))
    assert seen == [result.graph_module]


@pytest.mark.parametrize("entry", [NameNodes, "name-nodes", None])
def test_an_entry_that_is_no_pass_is_refused(entry: object) -> None:
    with pytest.raises(ArgumentTypeError, match="entry 1 of 2"):
        PassManager([nothing, entry])  # pyright: ignore[reportArgumentType] - the mistake under test


def test_a_report_tells_what_each_pass_changed() -> None:
    def insert_neg(graph_module: fx.GraphModule) -> PassResult:
        relu = relu_of(graph_module)
        with graph_module.graph.inserting_after(relu):
            neg = graph_module.graph.call_function(torch.neg, relu.args)
        relu.replace_all_uses_with(neg)
        graph_module.graph.erase_node(relu)
        return PassResult(graph_module, True)

    report = PassManager([nothing, PassManager([to_sigmoid, insert_neg])])(fx.symbolic_trace(TwoLinears())).report
    assert [(each.name, each.position, each.changed) for each in report] == [
        ("pipeline", (), True),
        ("nothing", (0,), False),
        ("pipeline", (1,), True),
        ("to_sigmoid", (1, 0), True),
        ("insert_neg", (1, 1), True),
    ]
    last = list(report)[-1]
    assert (last.added, last.removed, last.replaced, last.edited) == (1, 1, 1, 1)


def test_pipelines_are_equal_by_their_passes_and_print_no_more_than_those() -> None:
    watched = PassManager([NameNodes()], instruments=[VerifyStructure()], undo=False)
    assert watched == PassManager([NameNodes()])
    assert hash(watched) == hash(PassManager([NameNodes()]))
    assert repr(watched) == "PassManager(passes=(NameNodes(style='exact'),))"
    assert watched != PassManager([NameNodes(), NameNodes()])
