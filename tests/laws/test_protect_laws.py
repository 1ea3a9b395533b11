"""The laws of protecting outputs, and the kit's own laws on passes that claim to change no value."""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.generated import DETERMINISTIC, names, own_capture, small_cases, some_of
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import fx

from fxpasses import testing as fxt
from fxpasses.graph.meta import qualified_name
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.protect_outputs import ProtectOutputs
from fxpasses.testing import Case
from fxpasses.testing.strategies import cases

WRITES = {
    "batch_norm", "buffer_write", "inplace_flag", "inplace_function", "inplace_method", "inplace_module", "inplace_out",
    "view_write",
}  # fmt: skip
over_cases = fxt.SharedRun(small_cases, st.data())
pure_cases = cases(max_nodes=18, features=DETERMINISTIC - WRITES)


def _arguments(case: Case) -> list[Any]:
    built = case.build()
    bound = inspect.signature(built.module.forward).bind(*built.args, **built.kwargs)
    bound.apply_defaults()
    return list(bound.arguments.values())


def _returning(case: Case, data: st.DataObject) -> fx.GraphModule:
    """The named graph of a model, returning some of its values; the last one too, so that every node runs."""
    captured = own_capture(case)
    wanted = some_of(data, names(captured), min_size=1, max_size=6)
    nodes = [node for node in captured.graph.nodes if qualified_name(node) in wanted]
    captured.graph.output_node().args = (tuple(nodes),)
    captured.recompile()
    return captured


@over_cases.law
def test_each_output_is_what_it_was_when_it_was_made(case: Case, data: st.DataObject) -> None:
    graph_module = _returning(case, data)
    returned = [node.name for node in graph_module.graph.output_node().all_input_nodes]
    oracle = ValuesAtBirth(_returning_the_same(case, returned))
    values = dict(zip(_names_of_inputs(graph_module), _arguments(case), strict=True))
    oracle_inputs = [values[name] for name in _names_of_inputs(oracle.module)]
    protected = ProtectOutputs()(graph_module).graph_module
    actual = _run(lambda: protected(*_arguments(case)))
    _run(lambda: oracle.run(*oracle_inputs))
    for value, name in zip(actual, returned, strict=True):
        assert_bit_equal(value, oracle.values[name], name)


def _run(function: Any) -> Any:
    import torch

    torch.default_generator.manual_seed(0)
    return function()


def _returning_the_same(case: Case, returned: list[str]) -> fx.GraphModule:
    captured = own_capture(case)
    nodes = {node.name: node for node in captured.graph.nodes}
    captured.graph.output_node().args = (tuple(nodes[name] for name in returned),)
    captured.recompile()
    return captured


def _names_of_inputs(graph_module: Any) -> list[str]:
    return [str(node.target) for node in graph_module.graph.find_nodes(op="placeholder")]


@given(pure_cases, st.data())
def test_where_nothing_is_written_nothing_is_copied(case: Case, data: st.DataObject) -> None:
    graph_module = _returning(case, data)
    before = str(graph_module.graph)
    result = ProtectOutputs()(graph_module)
    assert (result.copies, result.modified) == (0, False)
    assert str(graph_module.graph) == before


@over_cases.law
def test_protecting_again_copies_nothing(case: Case, data: st.DataObject) -> None:
    graph_module = _returning(case, data)
    ProtectOutputs()(graph_module)
    before = str(graph_module.graph)
    assert ProtectOutputs()(graph_module).copies == 0
    assert str(graph_module.graph) == before


@over_cases.law
def test_a_copy_is_made_for_each_endangered_value_once(case: Case, data: st.DataObject) -> None:
    graph_module = _returning(case, data)
    before = list(graph_module.graph.nodes)
    result = ProtectOutputs()(graph_module)
    added = [node for node in graph_module.graph.nodes if node not in before]
    assert len(added) == result.copies == len({node.args[0] for node in added})
    returned = graph_module.graph.output_node().all_input_nodes
    assert all(node in returned and node.args[0] not in returned for node in added)


OWN = {"vacuous": {"Equivalent": ["the graph was changed"]}, "strategy": over_cases}
TestNameNodes = fxt.pass_suite(NameNodes(), **OWN)
LAWS = [law for law in fxt.laws_for(ProtectOutputs()) if not isinstance(law, fxt.PreservesMeta)]
TestProtectOutputs = fxt.pass_suite(ProtectOutputs(), laws=LAWS, strategy=over_cases)
