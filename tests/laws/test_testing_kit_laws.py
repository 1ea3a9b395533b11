"""The kit itself: its models run, and are what they say."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import fx

from fxpasses.testing import strategies as fxst
from fxpasses.testing.case import Case
from fxpasses.testing.models.build_graph import build_graph
from fxpasses.testing.models.interpreter import Spec, interpret
from fxpasses.testing.models.render import render
from fxpasses.testing.models.sample import sample_spec

EVERYTHING = fxst.ALL | set(fxst.BEYOND_FX) | set(fxst.OPT_IN)
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _run(module: Any, args: Any, kwargs: Any) -> Any:
    torch.default_generator.manual_seed(7)
    return module(*args, **kwargs), torch.get_rng_state()


@SLOW
@given(case=fxst.cases(features=EVERYTHING))
def test_every_model_runs(case: Case) -> None:
    built = case.build()
    _run(*built)
    built.module.train(not built.module.training)
    _run(*built)


@SLOW
@given(case=fxst.cases())
def test_every_model_is_traced_faithfully_by_torch_fx(case: Case) -> None:
    built, twin = case.build(), case.build()
    graph_module = fx.symbolic_trace(twin.module)
    expected, random = _run(*built)
    actual, left = _run(graph_module, twin.args, twin.kwargs)
    assert_bit_equal(actual, expected)
    assert torch.equal(left, random)
    for name, value in graph_module.state_dict().items():
        assert_bit_equal(value, built.module.state_dict()[name], name)


@SLOW
@given(
    inputs=st.lists(st.binary(min_size=3, max_size=3), max_size=3),
    statements=st.lists(st.binary(min_size=6, max_size=6), max_size=25),
    outputs=st.lists(st.binary(min_size=1, max_size=1), max_size=3),
    kept=st.integers(0, 2**31),
)
def test_whatever_is_deleted_from_a_spec_a_model_is_left(
    inputs: list[bytes], statements: list[bytes], outputs: list[bytes], kept: int
) -> None:
    bits = itertools.cycle([bool(kept >> index & 1) for index in range(31)])
    rest = Spec(*([each for each in part if next(bits)] for part in (inputs, statements, outputs)))
    for training in (True, False):
        _run(*Case(render(interpret(rest), training=training)).build())


def _rows(graph: fx.Graph) -> list[tuple[Any, ...]]:
    places = {node: index for index, node in enumerate(graph.nodes)}

    def spelled(value: Any) -> str:
        return str(fx.map_arg(value, lambda node: f"#{places[node]}"))

    rows: list[tuple[Any, ...]] = []
    for node in graph.nodes:
        stack = {key: (path, kind.__name__) for key, (path, kind) in node.meta.get("nn_module_stack", {}).items()}
        args = () if node.op == "placeholder" else spelled(node.args)
        rows.append((node.op, node.name, str(node.target), args, spelled(node.kwargs), stack))
    return rows


@SLOW
@given(seed=st.integers(0, 2**32))
def test_a_graph_that_is_built_directly_is_the_one_that_a_trace_gives(seed: int) -> None:
    spec = sample_spec(seed)
    program = interpret(spec)
    built = build_graph(program, training=spec.training)
    case = Case(render(program, training=spec.training))
    traced = fx.symbolic_trace(case.module)
    assert _rows(built.graph) == _rows(traced.graph)
    state = built.state_dict()
    for name, value in traced.state_dict().items():
        assert_bit_equal(state[name], value, name)
    inputs = {node.target: node.meta["example_value"] for node in built.graph.nodes if node.op == "placeholder"}
    assert_bit_equal(_run(built, (), inputs)[0], _run(traced, case.args, case.kwargs)[0])


@SLOW
@given(graph_module=fxst.graph_modules())
def test_values_at_birth_are_those_of_an_interpreter_that_clones(graph_module: fx.GraphModule) -> None:
    inputs = {node.target: node.meta["example_value"] for node in graph_module.graph.nodes if node.op == "placeholder"}
    from fxpasses.graph.divergence import values_at_birth

    actual = values_at_birth(graph_module, (), inputs, seed=3)
    torch.default_generator.manual_seed(3)
    oracle = ValuesAtBirth(graph_module)
    oracle.run(*inputs.values())
    assert actual.keys() == oracle.values.keys()
    for name, value in oracle.values.items():
        assert_bit_equal(actual[name], value, name)
