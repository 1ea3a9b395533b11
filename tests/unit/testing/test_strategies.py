from __future__ import annotations

import gc
import re
import weakref
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from torch import fx, nn

from fxpasses.errors import RequestError
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs
from fxpasses.testing import Case
from fxpasses.testing import strategies as fxst
from fxpasses.testing.models.features import FEATURES

FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def _operations(graph: fx.Graph) -> int:
    return sum(node.op.startswith("call") for node in graph.nodes)


@FEW
@given(case=fxst.cases(min_nodes=3, max_nodes=9, max_inputs=1, modes=["eval"], outputs=["tensor"]))
def test_options_are_kept(case: Case) -> None:
    graph = fx.symbolic_trace(case.module).graph
    assert 3 <= _operations(graph) <= 30  # the last statement may write several
    assert not case.training
    assert isinstance(case.module(*case.args, **case.kwargs), torch.Tensor)
    assert len(case.args) + len(case.kwargs) == 1


@FEW
@given(case=fxst.cases(features=st.sampled_from([{"block"}, {"residual"}]), modes=st.just(("train",))))
def test_options_may_be_strategies(case: Case) -> None:
    assert case.training
    assert case.features <= {"block", "residual", "multi_input"}


@FEW
@given(module=fxst.modules(max_depth=0))
def test_modules_have_no_blocks_at_depth_zero(module: nn.Module) -> None:
    assert all(len(list(child.children())) == 0 or "torch" in type(child).__module__ for child in module.children())


@FEW
@given(case=fxst.cases(features=fxst.ALL - {"dict_io", "tuple_io"}))
def test_without_tuples_and_dicts_no_class_takes_or_returns_one(case: Case) -> None:
    returned = re.findall(r"return (.*)", case.source)
    assert returned
    assert not any(each.startswith(("{", "(")) or "," in each for each in returned)


@FEW
@given(graph_module=fxst.graph_modules(features=fxst.ALL | set(fxst.BEYOND_FX) | set(fxst.OPT_IN)))
def test_graph_modules_run_with_the_inputs_that_they_bring(graph_module: fx.GraphModule) -> None:
    graph_module.graph.lint()
    inputs = {node.target: node.meta["example_value"] for node in graph_module.graph.nodes if node.op == "placeholder"}
    graph_module(**inputs)


@FEW
@given(graph=fxst.graphs())
def test_graphs_are_valid_and_have_no_modules(graph: fx.Graph) -> None:
    graph.lint()
    assert all(node.op != "call_module" for node in graph.nodes)


def test_graphs_have_what_no_tracer_emits() -> None:
    find(fxst.graphs(), lambda graph: any(node.op == "placeholder" and not node.users for node in graph.nodes))
    find(
        fxst.graphs(),
        lambda graph: (
            None in (graph.output_node().args[0] or ()) if isinstance(graph.output_node().args[0], tuple) else False
        ),
    )


@FEW
@given(data=st.data())
def test_node_names_are_names_of_the_model(data: st.DataObject) -> None:
    case = data.draw(fxst.cases(max_nodes=8))
    names = data.draw(fxst.node_names(case, min_size=0, max_size=3))
    assert len(names) == len(set(names)) <= 3


@FEW
@given(passes=fxst.pipelines([PruneToOutputs(["x"]), NameNodes()], min_size=1, max_size=5))
def test_pipelines_meet_the_needs_of_each_pass(passes: list[object]) -> None:
    if PruneToOutputs(["x"]) in passes:
        assert passes[0] == NameNodes()


def cube(x: torch.Tensor) -> torch.Tensor:
    return x * x * x


CUBE = fxst.OpSpec(f"{__name__}.cube", lambda x: x.is_float, lambda x: x.within(-(x.bound**3), x.bound**3))


def test_own_operations_are_written_and_imported() -> None:
    case = find(fxst.cases(ops=[CUBE]), lambda case: "cube(" in case.source)
    assert f"import {__name__}" in case.source
    case.module(*case.args, **case.kwargs)


def test_the_repr_of_a_strategy_is_the_call() -> None:
    assert repr(fxst.cases(min_nodes=3)) == "cases(min_nodes=3)"
    assert repr(fxst.graph_modules()) == "graph_modules()"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_nodes": 5, "max_nodes": 2}, "leave nothing"),
        ({"features": ["residuals"]}, "did you mean 'residual'"),
        ({"modes": ["test"]}, "choose at least one of train, eval"),
        ({"outputs": []}, "choose at least one of tensor, tuple, dict"),
        ({"max_inputs": 0}, "must be positive"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], words: str) -> None:
    @settings(max_examples=1, phases=[Phase.generate], database=None)
    @given(fxst.cases(**options))
    def draw(case: Case) -> None:
        raise AssertionError(case)

    with pytest.raises(RequestError, match=words):
        draw()


@settings(FEW, max_examples=5)
@given(...)
def test_the_type_of_a_case_is_enough(case: Case) -> None:
    assert isinstance(case, Case)


def test_classes_of_drawn_models_go_with_their_models() -> None:
    drawn: list[weakref.ref[type]] = []

    @settings(FEW, max_examples=10)
    @given(fxst.cases())
    def draw(case: Case) -> None:
        drawn.append(weakref.ref(type(case.module)))

    draw()
    for number in range(200):  # the latest hundred stay, so that they can be pickled
        Case(f"import torch\nmodule, args, kwargs = torch.nn.ReLU(), ({number},), {{}}").build()
    gc.collect()
    assert len(drawn) >= 10
    assert not any(kind() for kind in drawn)


def test_every_feature_is_drawn_often_enough() -> None:
    counts: Counter[str] = Counter()

    @settings(FEW, max_examples=1000)
    @given(case=fxst.cases())
    def draw(case: Case) -> None:
        counts.update(case.features)

    draw()
    assert [feature for feature in FEATURES if counts[feature] < 50] == []


def test_models_of_many_sizes_are_drawn() -> None:
    sizes: list[int] = []

    @settings(FEW, max_examples=400)
    @given(graph_module=fxst.graph_modules())
    def draw(graph_module: fx.GraphModule) -> None:
        sizes.append(_operations(graph_module.graph))

    draw()
    sizes.sort()
    assert 10 <= sizes[len(sizes) // 2] <= 20
    assert sizes[len(sizes) * 95 // 100] >= 40
