from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from torch import fx, nn

from fxpasses.errors import FalseClaimError, PassError
from fxpasses.manager import Instrument, Pass, PassManager, PassResult, Repeat, Step


class Noting(Instrument):
    """Notes each call of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        self.calls.append(("before_pipeline", graph_module))

    def skip(self, step: Step) -> str | None:
        self.calls.append(("skip", step.name))
        return "not now" if step.name == "skipped" else None

    def before_pass(self, step: Step) -> None:
        self.calls.append(("before_pass", step.name))

    def after_pass(self, step: Step) -> None:
        self.calls.append(("after_pass", step.name))

    def after_failure(self, step: Step, error: Exception) -> None:
        self.calls.append(("after_failure", step.name, str(error)))

    def after_pipeline(self, graph_module: fx.GraphModule) -> None:
        self.calls.append(("after_pipeline", graph_module))

    def after_restore(self, graph_module: fx.GraphModule) -> None:
        self.calls.append(("after_restore", graph_module))


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(nn.ReLU()))


def skipped(graph_module: fx.GraphModule) -> None:
    pass


def copies(graph_module: fx.GraphModule) -> PassResult:
    return PassResult(fx.GraphModule(graph_module, graph_module.graph), True)


def empties(graph_module: fx.GraphModule) -> None:
    graph_module.graph.output_node().args = (None,)
    raise KeyError("empty")


def test_an_instrument_is_told_each_thing_once_and_in_order() -> None:
    noting, graph_module = Noting(), traced()
    result = PassManager([skipped, copies], instruments=[noting])(graph_module)
    assert noting.calls == [
        ("before_pipeline", graph_module),
        ("skip", "skipped"),
        ("skip", "copies"),
        ("before_pass", "copies"),
        ("after_pass", "copies"),
        ("after_pipeline", result.graph_module),
    ]


def test_an_instrument_is_told_of_a_failure_and_then_of_what_was_put_back() -> None:
    noting, graph_module = Noting(), traced()
    with pytest.raises(PassError):
        PassManager([empties], instruments=[noting])(graph_module)
    assert noting.calls[2:] == [
        ("before_pass", "empties"),
        ("after_failure", "empties", "'empty'"),
        ("after_restore", graph_module),
    ]


@pytest.mark.parametrize("composite", [PassManager, Repeat])
def test_a_failure_puts_the_graph_back_unless_told_otherwise(composite: type[PassManager | Repeat]) -> None:
    graph_module = traced()
    text = str(graph_module.graph)
    with pytest.raises(PassError):
        composite([empties])(graph_module)
    assert str(graph_module.graph) == text
    with pytest.raises(PassError):
        PassManager([composite([empties])], undo=False)(graph_module)
    assert str(graph_module.graph) != text


@pytest.mark.parametrize(
    ("undo", "state"), [(True, "is as it was before the pipeline"), (False, "is as the pass left it")]
)
def test_a_failure_says_in_which_state_the_graph_module_is(undo: bool, state: str) -> None:
    with pytest.raises(PassError, match=rf"^empties \(pass 1\) raised KeyError: 'empty'\nThe graph module {state};"):
        PassManager([empties], undo=undo)(traced())


def test_a_broken_contract_in_a_pipeline_that_a_pass_runs_stays_that_of_the_inner_pass() -> None:
    def denies(graph_module: fx.GraphModule) -> PassResult:
        graph_module.graph.output_node().args = (None,)
        return PassResult(graph_module, False)

    def runs_its_own(graph_module: fx.GraphModule) -> None:
        PassManager([denies])(graph_module)

    with pytest.raises(PassError, match=r"runs_its_own .* raised FalseClaimError") as caught:
        PassManager([skipped, runs_its_own])(traced())
    assert (caught.value.pass_, caught.value.position) == (runs_its_own, (1,))
    inner = caught.value.__cause__
    assert isinstance(inner, FalseClaimError)
    assert (inner.pass_, inner.position) == (denies, (0,))


class Returns(Pass):
    """Returns no PassResult."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "what", what)

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        made = {"None": None, "module": graph_module, "pair": (graph_module, True)}
        return cast("PassResult", made[getattr(self, "what", "")])


def returning(make: Callable[[fx.GraphModule], object]) -> Callable[[fx.GraphModule], object]:
    def returns(graph_module: fx.GraphModule) -> object:
        return make(graph_module)

    return returns


@pytest.mark.parametrize(
    ("pass_", "kind"),
    [
        (Returns("None"), "NoneType"),
        (Returns("module"), "Sequential"),
        (Returns("pair"), "tuple"),
        (returning(lambda graph_module: (graph_module,)), "tuple"),
        (returning(lambda graph_module: (graph_module, True, 3)), "tuple"),
        (returning(lambda graph_module: [graph_module, True]), "list"),
        (returning(lambda graph_module: (graph_module.graph, True)), "tuple"),
        (returning(lambda graph_module: graph_module.graph), "Graph"),
        (returning(lambda graph_module: 3), "int"),
    ],
)
def test_what_is_no_result_is_told_by_its_type(pass_: Callable[[fx.GraphModule], object], kind: str) -> None:
    said = rf"raised ArgumentTypeError: returns returned {kind}; a pass returns PassResult\(graph_module, modified\)\."
    with pytest.raises(PassError, match=said):
        PassManager([pass_])(traced())


@pytest.mark.parametrize("modified", [True, False])
def test_a_function_may_return_a_pair(modified: bool) -> None:
    def returns_a_pair(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, bool]:
        if modified:
            graph_module.graph.output_node().args = (None,)
        return graph_module, modified

    result = PassManager([returns_a_pair])(traced())
    assert result.modified == result.report.children[0].claimed == modified


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("returned", ["nothing", "the graph module"])
def test_where_a_function_does_not_say_whether_it_changed_anything_its_result_does(
    returned: str, changes: bool
) -> None:
    def says_nothing(graph_module: fx.GraphModule) -> fx.GraphModule | None:
        if changes:
            graph_module.graph.output_node().args = (None,)
        return graph_module if returned == "the graph module" else None

    result = PassManager([says_nothing])(traced())
    assert result.report.children[0].claimed is None
    assert result.results[0].modified == result.modified == changes


class Counted(PassResult):
    seen: int


def test_a_result_stays_as_the_pass_returned_it() -> None:
    def says_only_how_many(graph_module: fx.GraphModule) -> PassResult:
        return Counted(graph_module, cast("bool", None), seen=3)

    def claims_too_much(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, bool]:
        return graph_module, True

    counted, claimed = PassManager([says_only_how_many, claims_too_much])(traced()).results
    assert isinstance(counted, Counted)
    assert counted.seen == 3
    assert claimed.modified
