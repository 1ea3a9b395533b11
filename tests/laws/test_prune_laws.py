"""The laws of pruning, over generated models. The oracles: networkx's ancestors, and the unpruned graph's values."""

from __future__ import annotations

import inspect

import networkx as nx
from hypothesis import strategies as st
from support.generated import (
    DETERMINISTIC,
    Prepared,
    deterministic_cases,
    named_capture,
    names,
    own_capture,
    small_cases,
    some_of,
    values_at_birth,
)
from support.oracle import assert_bit_equal
from torch import fx

from fxpasses import testing as fxt
from fxpasses.graph.meta import qualified_name
from fxpasses.passes.prune_to_outputs import PruneToOutputs
from fxpasses.testing import Case
from fxpasses.testing.strategies import cases

_WRITES = {
    "batch_norm", "buffer_write", "inplace_flag", "inplace_function", "inplace_method", "inplace_module", "inplace_out",
    "view_write",
}  # fmt: skip
over_cases = fxt.SharedRun(small_cases, st.data())
over_pure_cases = fxt.SharedRun(cases(max_nodes=25, features=DETERMINISTIC - _WRITES), st.data())
over_deterministic_cases = fxt.SharedRun(deterministic_cases, st.data())


def _pruned(case: Case, wanted: list[str]) -> fx.GraphModule:
    return PruneToOutputs(wanted)(own_capture(case)).graph_module


def _ancestors(graph: fx.Graph, wanted: list[str]) -> set[str]:
    dependencies = nx.DiGraph()
    dependencies.add_nodes_from(graph.nodes)
    dependencies.add_edges_from((used, node) for node in graph.nodes for used in node.all_input_nodes)
    asked = [node for node in graph.nodes if qualified_name(node) in wanted]
    found = set(asked).union(*(nx.ancestors(dependencies, node) for node in asked))
    return {name for node in found if (name := qualified_name(node)) is not None}


@over_pure_cases.law
def test_without_writes_what_remains_are_the_ancestors_and_the_inputs(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    wanted = some_of(data, names(captured), min_size=1, max_size=4)
    inputs = {qualified_name(node) for node in captured.graph.nodes if node.op == "placeholder"}
    assert set(names(_pruned(case, wanted))) == _ancestors(captured.graph, wanted) | inputs


@over_cases.law
def test_nothing_that_a_value_is_computed_from_is_removed(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    wanted = some_of(data, names(captured), min_size=1, max_size=4)
    assert set(names(_pruned(case, wanted))) >= _ancestors(captured.graph, wanted)


@over_cases.law
def test_the_signature_stays(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    before = [(node.target, node.args, node.type) for node in captured.graph.nodes if node.op == "placeholder"]
    pruned = _pruned(case, some_of(data, names(captured), min_size=1, max_size=4))
    assert [(node.target, node.args, node.type) for node in pruned.graph.nodes if node.op == "placeholder"] == before


@over_cases.law
def test_no_module_parameter_or_buffer_is_left_over(case: Case, data: st.DataObject) -> None:
    pruned = _pruned(case, some_of(data, names(named_capture(case)), min_size=1, max_size=4))
    used = {str(node.target) for node in pruned.graph.nodes if node.op in ("call_module", "get_attr")}
    present = [name for name, _ in [*pruned.named_parameters(), *pruned.named_buffers()]]
    for name in present:
        parts = name.split(".")
        assert any(".".join(parts[:length]) in used for length in range(1, len(parts) + 1)), name


@over_cases.law
def test_pruning_again_removes_nothing(case: Case, data: st.DataObject) -> None:
    wanted = some_of(data, names(named_capture(case)), min_size=1, max_size=4)
    pruned = _pruned(case, wanted)
    before = names(pruned)
    result = PruneToOutputs(wanted)(pruned)
    assert (result.removed_nodes, result.removed_tensors) == (0, 0)
    assert names(pruned) == before


@over_cases.law
def test_pruning_in_two_steps_is_pruning_at_once(case: Case, data: st.DataObject) -> None:
    wanted = some_of(data, names(named_capture(case)), min_size=1, max_size=5)
    fewer = wanted[: max(1, len(wanted) - 1)]
    stepwise = PruneToOutputs(fewer)(_pruned(case, wanted)).graph_module
    assert names(stepwise) == names(_pruned(case, fewer))


@over_cases.law
def test_asking_for_less_keeps_no_more(case: Case, data: st.DataObject) -> None:
    wanted = some_of(data, names(named_capture(case)), min_size=1, max_size=5)
    assert set(names(_pruned(case, wanted[:1]))) <= set(names(_pruned(case, wanted)))


@over_deterministic_cases.law
def test_pruning_to_the_last_value_gives_the_last_value(case: Case) -> None:
    expected = values_at_birth(case)
    prepared = Prepared.of(case)
    last = [name for name in expected if name][-1]
    pruned = PruneToOutputs([last])(own_capture(case)).graph_module
    assert_bit_equal(prepared.run(pruned)[last], expected[last], last)


def _without_dead_code(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Torch's own dead code elimination, which is right where nothing is written."""
    graph_module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    return graph_module


@over_pure_cases.law
def test_pruning_and_removing_dead_code_may_come_in_either_order(case: Case, data: st.DataObject) -> None:
    alive = _without_dead_code(own_capture(case))
    wanted = some_of(data, names(alive), min_size=1, max_size=4)
    pruned_last = PruneToOutputs(wanted)(alive).graph_module
    pruned_first = _without_dead_code(_pruned(case, wanted))
    assert str(pruned_last.graph) == str(pruned_first.graph) == str(_pruned(case, wanted).graph)


@over_deterministic_cases.law
def test_what_pruning_claims_of_its_outputs_is_so(case: Case, data: st.DataObject) -> None:
    """The laws that the pass chooses by its claims, on its own; it needs names, so that a named graph is pruned."""
    wanted = some_of(data, names(named_capture(case)), min_size=1, max_size=4)
    law = fxt.OutputsAsClaimed()
    assert law in fxt.laws_for(PruneToOutputs(wanted))
    built = case.build()
    bound = inspect.signature(built.module.forward).bind(*built.args, **built.kwargs)
    bound.apply_defaults()
    fxt.check_pass(PruneToOutputs(wanted), named_capture(case), (), bound.arguments, laws=[law])


@over_cases.law
def test_what_pruning_claims_to_keep_it_keeps(case: Case, data: st.DataObject) -> None:
    wanted = some_of(data, names(named_capture(case)), min_size=1, max_size=4)
    laws = [fxt.WellFormed(), fxt.InPlace(), fxt.KeepsFacts()]
    built = case.build()
    bound = inspect.signature(built.module.forward).bind(*built.args, **built.kwargs)
    bound.apply_defaults()
    fxt.check_pass(PruneToOutputs(wanted), named_capture(case), (), bound.arguments, laws=laws)
