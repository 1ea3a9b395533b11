"""The laws of names and modes across captures, over generated models: whichever capture a graph came from.

The oracles: the symbolic capture for the one with values, and the paths and return values of the eager model's modules.
"""

from __future__ import annotations

from hypothesis import given
from support.captures import OverCaptures
from support.generated import Prepared, captured_anew, named_capture, names, small_cases
from support.oracle import Calls, assert_bit_equal
from torch import fx

from fxpasses.capture.values.guards import guards_of
from fxpasses.feature_extraction.captures import CaptureName
from fxpasses.graph.values import NamedValues
from fxpasses.testing import Case
from fxpasses.testing.strategies import ALL, cases

over_cases = OverCaptures(small_cases)


def _nodes(captured: fx.GraphModule) -> list[tuple[str, str, str]]:
    return [(node.op, node.name, str(node.target)) for node in captured.graph.nodes if node.op != "placeholder"]


# Of a container that is an argument, its tensors are read when the trace begins, each once.
@given(cases(max_nodes=18, features=ALL - {"tuple_io", "dict_io"}))
def test_values_change_neither_nodes_nor_names(case: Case) -> None:
    plain, valued = named_capture(case), named_capture(case, "values")
    assert _nodes(valued) == _nodes(plain)
    given_ = [node.target for node in valued.graph.find_nodes(op="placeholder")]
    arguments = [node.target for node in plain.graph.find_nodes(op="placeholder")]
    left_out = {str(argument) for argument in arguments if argument not in given_}
    assert names(valued) == [name for name in names(plain) if name not in left_out]


@given(cases(max_nodes=18, features=ALL | {"augmented_assignment", "item_assignment"}))
def test_values_trace_what_plain_tracing_cannot(case: Case) -> None:
    prepared, expected = Prepared.of(case), Prepared.of(case)
    captured = prepared.captured(case, "values")
    guards_of(captured).check(prepared.args, prepared.kwargs)
    ours, theirs = prepared.run(captured), expected.run(expected.module)
    assert_bit_equal(ours, theirs)


@over_cases.law
def test_every_node_has_a_name_and_no_two_the_same(capture: CaptureName, case: Case) -> None:
    found = names(named_capture(case, capture))
    assert len(set(found)) == len(found)


@over_cases.law
def test_names_are_the_same_each_time(capture: CaptureName, case: Case) -> None:
    assert names(captured_anew(case, capture)) == names(named_capture(case, capture))


@over_cases.law
def test_every_module_that_is_called_can_be_named(capture: CaptureName, case: Case) -> None:
    eager = Prepared.of(case)
    values = NamedValues(named_capture(case, capture))
    for path, found in Calls(eager.module, *eager.args, **eager.kwargs).returned.items():
        for index in range(len(found)):
            assert not path or (path in values and f"{path}@{index}" in values), (path, index)


@over_cases.law
def test_the_guards_let_the_examples_through(capture: CaptureName, case: Case) -> None:
    prepared = Prepared.of(case)
    guards = guards_of(prepared.captured(case, capture))
    if guards is not None:
        guards.check(prepared.args, prepared.kwargs)
