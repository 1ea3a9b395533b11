"""The laws of pruning, over generated models. The oracles: networkx's ancestors, and the unpruned graph's values."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

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
from fxpasses.manager.blaming.copies import copied
from fxpasses.passes.prune_to_outputs import PruneToOutputs
from fxpasses.testing import Case
from fxpasses.testing.strategies import cases

_WRITES = {
    "batch_norm", "buffer_write", "inplace_flag", "inplace_function", "inplace_method", "inplace_module", "inplace_out",
    "view_write",
}  # fmt: skip


class Request(NamedTuple):
    """A model, and the names of some of its values."""

    case: Case
    wanted: tuple[str, ...]


@st.composite
def _requests(draw: st.DrawFn, cases: st.SearchStrategy[Case]) -> Request:
    case = draw(cases)
    values = st.sampled_from(names(named_capture(case)))
    return Request(case, tuple(draw(st.lists(values, unique=True, min_size=1, max_size=5))))


over_requests = fxt.SharedRun(_requests(small_cases))
over_pure_requests = fxt.SharedRun(_requests(cases(max_nodes=18, features=DETERMINISTIC - _WRITES)), st.data())
over_deterministic_requests = fxt.SharedRun(_requests(deterministic_cases))


@lru_cache(maxsize=4)  # many laws look at the same
def _pruned(case: Case, wanted: tuple[str, ...]) -> fx.GraphModule:
    return PruneToOutputs(wanted)(own_capture(case)).graph_module


def _ancestors(graph: fx.Graph, wanted: Collection[str]) -> set[str]:
    dependencies = nx.DiGraph()
    dependencies.add_nodes_from(graph.nodes)
    dependencies.add_edges_from((used, node) for node in graph.nodes for used in node.all_input_nodes)
    asked = [node for node in graph.nodes if qualified_name(node) in wanted]
    found = set(asked).union(*(nx.ancestors(dependencies, node) for node in asked))
    return {name for node in found if (name := qualified_name(node)) is not None}


@over_pure_requests.law
def test_without_writes_what_remains_are_the_ancestors_and_the_inputs(request: Request) -> None:
    captured = named_capture(request.case)
    inputs = {qualified_name(node) for node in captured.graph.nodes if node.op == "placeholder"}
    assert set(names(_pruned(*request))) == _ancestors(captured.graph, request.wanted) | inputs


@over_requests.law
def test_nothing_that_a_value_is_computed_from_is_removed(request: Request) -> None:
    assert set(names(_pruned(*request))) >= _ancestors(named_capture(request.case).graph, request.wanted)


@over_requests.law
def test_the_signature_stays(request: Request) -> None:
    assert _signature(_pruned(*request)) == _signature(named_capture(request.case))


def _signature(graph_module: fx.GraphModule) -> list[object]:
    return [(node.target, node.args, node.type) for node in graph_module.graph.nodes if node.op == "placeholder"]


@over_requests.law
def test_no_module_parameter_or_buffer_is_left_over(request: Request) -> None:
    pruned = _pruned(*request)
    used = {str(node.target) for node in pruned.graph.nodes if node.op in ("call_module", "get_attr")}
    present = [name for name, _ in [*pruned.named_parameters(), *pruned.named_buffers()]]
    for name in present:
        parts = name.split(".")
        assert any(".".join(parts[:length]) in used for length in range(1, len(parts) + 1)), name


@over_requests.law
def test_pruning_again_removes_nothing(request: Request) -> None:
    pruned = copied(_pruned(*request))
    before = names(pruned)
    result = PruneToOutputs(request.wanted)(pruned)
    assert (result.removed_nodes, result.removed_tensors) == (0, 0)
    assert names(pruned) == before


@over_requests.law
def test_pruning_in_two_steps_is_pruning_at_once(request: Request) -> None:
    fewer = request.wanted[:-1] or request.wanted
    stepwise = PruneToOutputs(fewer)(copied(_pruned(*request))).graph_module
    assert names(stepwise) == names(_pruned(request.case, fewer))


@over_requests.law
def test_asking_for_less_keeps_no_more(request: Request) -> None:
    assert set(names(_pruned(request.case, request.wanted[:1]))) <= set(names(_pruned(*request)))


@over_deterministic_requests.law
def test_pruning_to_the_last_value_gives_the_last_value(request: Request) -> None:
    expected = values_at_birth(request.case)
    prepared = Prepared.of(request.case)
    last = [name for name in expected if name][-1]
    pruned = PruneToOutputs([last])(own_capture(request.case)).graph_module
    assert_bit_equal(prepared.run(pruned)[last], expected[last], last)


def _without_dead_code(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Torch's own dead code elimination, which is right where nothing is written."""
    graph_module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    return graph_module


@over_pure_requests.law
def test_pruning_and_removing_dead_code_may_come_in_either_order(request: Request, data: st.DataObject) -> None:
    alive = _without_dead_code(own_capture(request.case))
    wanted = tuple(some_of(data, names(alive), min_size=1, max_size=4))
    pruned_last = PruneToOutputs(wanted)(alive).graph_module
    pruned = _pruned(request.case, wanted)
    pruned_first = _without_dead_code(copied(pruned))
    assert str(pruned_last.graph) == str(pruned_first.graph) == str(pruned.graph)


@over_deterministic_requests.law
def test_what_pruning_claims_of_its_outputs_is_so(request: Request) -> None:
    """The laws that the pass chooses by its claims, on its own; it needs names, so that a named graph is pruned."""
    law = fxt.OutputsAsClaimed()
    assert law in fxt.laws_for(PruneToOutputs(request.wanted))
    _check(request, [law])


@over_requests.law
def test_what_pruning_claims_to_keep_it_keeps(request: Request) -> None:
    _check(request, [fxt.WellFormed(), fxt.InPlace(), fxt.KeepsFacts()])


def _check(request: Request, laws: list[fxt.Law]) -> None:
    built = request.case.build()
    bound = inspect.signature(built.module.forward).bind(*built.args, **built.kwargs)
    bound.apply_defaults()
    fxt.check_pass(PruneToOutputs(request.wanted), named_capture(request.case), (), bound.arguments, laws=laws)
