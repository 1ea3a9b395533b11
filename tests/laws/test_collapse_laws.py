"""The laws of collapsing, over generated models. The oracle is a trace that had the leaves from the start."""

from __future__ import annotations

import inspect
import operator
from functools import lru_cache

from hypothesis import assume, example, reject
from hypothesis import strategies as st
from support.generated import Prepared, deterministic_cases, names, small_cases, some_of, values_at_birth
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import CollapseError
from fxpasses.graph.meta import qualified_name
from fxpasses.manager import PassManager
from fxpasses.manager.blaming.copies import copied
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing import Case, SharedRun

over_cases = SharedRun(small_cases, st.data())
over_deterministic_cases = SharedRun(deterministic_cases, st.integers(0, 255))

READS_A_PARAMETER_AGAIN = Case("""
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1.0, 1.0, 3))

    def forward(self, x):
        return x * self.weight


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return torch.relu(self.block(x)) + self.block.weight


module = Model().eval()
args = (torch.linspace(-1.0, 0.9, 6).reshape(2, 3),)
kwargs = {}
""")
USES_WHAT_WAS_PASSED_ON = Case("""
import torch
from torch import nn


class Block(nn.Module):
    def forward(self, x):
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return torch.relu(self.block(x))


module = Model().eval()
args = (torch.linspace(-1.0, 0.9, 6).reshape(2, 3),)
kwargs = {}
""")


def _own_classes(graph_module: fx.GraphModule) -> list[type[nn.Module]]:
    """Returns the classes of the calls that were traced through, the model's own class aside."""
    calls = graph_module.meta["fxpasses"].calls
    return sorted({call.module_type for call in calls if call.path}, key=lambda kind: kind.__name__)


def _named(graph_module: fx.GraphModule) -> list[str]:
    return names(NameNodes()(graph_module).graph_module)


def _drawn_leaves(captured: fx.GraphModule, data: st.DataObject) -> list[type[nn.Module]]:
    kinds = {kind.__name__: kind for kind in _own_classes(captured)}
    assume(kinds)
    return [kinds[name] for name in some_of(data, sorted(kinds), min_size=1)]


def _leaves(captured: fx.GraphModule, chosen: int) -> list[type[nn.Module]]:
    """Returns some of the model's own classes: each bit of `chosen` is one."""
    kinds = _own_classes(captured)
    assume(kinds)
    return [kind for index, kind in enumerate(kinds) if chosen >> index & 1] or kinds[:1]


@lru_cache(maxsize=1)  # for two laws
def _collapsed_and_traced(case: Case, chosen: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Returns the graph with some classes collapsed, and a trace that has them as leaves."""
    prepared = Prepared.of(case)
    captured = capture_symbolic(prepared.module, training=case.training)
    leaves = _leaves(captured, chosen)
    traced = capture_symbolic(prepared.module, training=case.training, tracer_options={"leaf_modules": leaves})
    try:
        collapsed = CollapseLeaves(leaves)(captured).graph_module
    except CollapseError:
        reject()
    collapsed.graph.lint()
    again = Prepared.of(case)
    assert_bit_equal(prepared.run(collapsed), again.run(again.module))
    return collapsed, traced


@over_deterministic_cases.law
@example(case=READS_A_PARAMETER_AGAIN, chosen=1)
@example(case=USES_WHAT_WAS_PASSED_ON, chosen=1)
def test_collapsing_is_tracing_with_the_leaves(case: Case, chosen: int) -> None:
    assume("dict_io" not in case.features)
    collapsed, traced = (copied(each) for each in _collapsed_and_traced(case, chosen))
    assert _named(collapsed) == _named(traced)
    # A module may pass on what it was given: which of the two a later operation uses, a trace through it cannot tell.
    used = [bool(node.users) for node in collapsed.graph.nodes]
    assert all(now for now, node in zip(used, traced.graph.nodes, strict=True) if node.users)


# When a caller picks an entry of a dict, no trace sees it: between which operations it does is not in the graph, and
# neither is an entry that it picks for nothing.
@over_deterministic_cases.law
def test_collapsing_is_tracing_with_the_leaves_wherever_a_dicts_entries_are_picked(case: Case, chosen: int) -> None:
    collapsed, traced = (copied(each) for each in _collapsed_and_traced(case, chosen))
    for graph in (collapsed.graph, traced.graph):
        for node in list(graph.nodes):
            if node.target is operator.getitem and not node.users:
                graph.erase_node(node)
    assert sorted(_named(collapsed)) == sorted(_named(traced))


@over_cases.law
def test_collapsing_changes_no_value_outside(case: Case, data: st.DataObject) -> None:
    prepared = Prepared.of(case)
    captured = NameNodes()(capture_symbolic(prepared.module, training=case.training)).graph_module
    leaves = _drawn_leaves(captured, data)
    expected = Prepared.of(case)
    try:
        collapsed = CollapseLeaves(leaves)(captured).graph_module
    except CollapseError:
        reject()
    assert_bit_equal(prepared.run(collapsed), expected.run(expected.module))


@over_cases.law
def test_collapsing_nothing_changes_nothing(case: Case) -> None:
    captured = capture_symbolic(Prepared.of(case).module)
    before = str(captured.graph)
    result = CollapseLeaves([])(captured)
    assert not result.modified
    assert str(captured.graph) == before


@over_cases.law
def test_collapsing_one_after_the_other_is_collapsing_at_once(case: Case, data: st.DataObject) -> None:
    module = Prepared.of(case).module
    captured = capture_symbolic(module)
    record = captured.meta["fxpasses"]
    # Paths beside each other: of nested ones the outermost counts, whatever the order.
    paths = [call.path for call in record.calls if call.path and "." not in call.path]
    assume(paths)
    chosen = some_of(data, sorted(set(paths)), min_size=1)
    try:
        at_once = CollapseLeaves(chosen)(captured).graph_module
    except CollapseError:
        reject()
    stepwise = PassManager([CollapseLeaves([path]) for path in data.draw(st.permutations(chosen))])
    step_by_step, together = _named(stepwise(capture_symbolic(module)).graph_module), _named(at_once)
    if "dict_io" in case.features:  # an entry of a dict is picked where it is first used, which a later step may move
        step_by_step, together = sorted(step_by_step), sorted(together)
    assert step_by_step == together


@over_cases.law
def test_a_collapsed_call_is_the_models_own_module(case: Case, data: st.DataObject) -> None:
    module = Prepared.of(case).module
    captured = NameNodes()(capture_symbolic(module)).graph_module
    leaves = _drawn_leaves(captured, data)
    try:
        result = CollapseLeaves(leaves)(captured)
    except CollapseError:
        reject()
    targets = {qualified_name(node): str(node.target) for node in captured.graph.nodes if node.op == "call_module"}
    for key in result.collapsed:
        path = key.partition("@")[0]
        assert path in targets.values()
        assert captured.get_submodule(path) is module.get_submodule(path)


def _described(graph: fx.Graph) -> list[tuple[object, ...]]:
    """The operations of a graph in order, by what they call and use; nothing of names."""
    places = {node: index for index, node in enumerate(graph.nodes)}

    def spelled(value: object) -> str:
        return str(fx.map_arg(value, lambda node: f"#{places[node]}"))

    return [(node.op, str(node.target), spelled(node.args), spelled(node.kwargs)) for node in graph.nodes]


@over_cases.law
def test_tracing_into_what_was_collapsed_gives_the_graph_back(case: Case, data: st.DataObject) -> None:
    module = Prepared.of(case).module
    captured = capture_symbolic(module, training=case.training)
    before = _described(captured.graph)
    leaves = _drawn_leaves(captured, data)
    # What torch itself would not trace into stays one node.
    assume(not any(kind.__module__.startswith("torch.nn") for kind in leaves))
    try:
        collapsed = CollapseLeaves(leaves)(captured).graph_module
    except CollapseError:
        reject()
    assert collapsed.code  # is generated on demand: not while the next trace runs
    assert _described(capture_symbolic(collapsed, training=case.training).graph) == before


@over_deterministic_cases.law
def test_collapsing_changes_no_value_at_its_birth(case: Case, chosen: int) -> None:
    expected = values_at_birth(case)
    prepared = Prepared.of(case)
    captured = NameNodes()(capture_symbolic(prepared.module, training=case.training)).graph_module
    leaves = _leaves(captured, chosen)
    try:
        collapsed = NameNodes()(CollapseLeaves(leaves)(captured).graph_module).graph_module
    except CollapseError:
        reject()
    interpreter = ValuesAtBirth(collapsed)
    bound = inspect.signature(prepared.module.forward).bind(*prepared.args, **prepared.kwargs)
    bound.apply_defaults()
    interpreter.run(*(bound.arguments[str(node.target)] for node in collapsed.graph.find_nodes(op="placeholder")))
    inside = {call.name for call in collapsed.meta["fxpasses"].calls}
    for node in collapsed.graph.nodes:
        name = qualified_name(node)
        if name in expected and name not in inside and node.op != "call_module":
            assert_bit_equal(interpreter.values[node.name], expected[name], name)
