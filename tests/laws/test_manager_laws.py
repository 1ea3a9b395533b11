"""What holds for every pipeline, over random graphs and random mutations of them."""

from __future__ import annotations

import copy
import math
import operator
import string
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import PassError
from fxpasses.graph.change import compare
from fxpasses.graph.line_diff import changed_lines
from fxpasses.graph.snapshot import Snapshot
from fxpasses.graph.state import GraphColumns, GraphState
from fxpasses.graph.structural_hash import structural_hash
from fxpasses.graph.verify import problems
from fxpasses.manager import Pass, PassManager, PassResult, Provenance, Repeat
from fxpasses.testing import Case, SharedRun
from fxpasses.testing.strategies import cases

UNARY = (torch.relu, torch.neg, torch.abs, "sin", "cos")
BINARY = (torch.add, torch.mul, operator.sub)
Mutation = tuple[str, int, int]
Mutate = Callable[[fx.GraphModule], None]
KINDS = (
    "insert",
    "erase",
    "retarget",
    "rewire",
    "rename",
    "move",
    "meta",
    "nested meta",
    "users",
    "recompile",
    "graph",
)

graphs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12)
mutations = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 30)), max_size=8)
over_mutations = SharedRun(graphs, mutations)


def build(spec: list[tuple[int, int, int]]) -> fx.GraphModule:
    """Builds a graph: each entry is an operation on earlier values."""
    graph = fx.Graph()
    values = [graph.placeholder("x"), graph.placeholder("y")]
    for op, first, second in spec:
        args = (values[first % len(values)], values[second % len(values)])
        if op < len(UNARY):
            target = UNARY[op]
            make = graph.call_method if isinstance(target, str) else graph.call_function
            values.append(make(target, args[:1]))
        else:
            values.append(graph.call_function(BINARY[op - len(UNARY)], args))
        values[-1].meta["custom"] = {"deep": [len(values)]}
    graph.output(values[-1])
    return fx.GraphModule(nn.Module(), graph)


def mutate(graph_module: fx.GraphModule, mutation: Mutation) -> None:
    """Changes a graph in one of the ways in which passes do, well or badly."""
    with suppress(KeyError, SystemError):  # torch refuses some changes of a graph that an earlier one broke
        _mutate(graph_module, *mutation)


def _mutate(graph_module: fx.GraphModule, kind: str, first: int, second: int) -> None:
    nodes = list(graph_module.graph.nodes)
    operations = [node for node in nodes if node.op.startswith("call_")]
    if kind == "recompile":
        graph_module.recompile()
    elif kind == "graph":
        graph_module.graph = copy.deepcopy(graph_module.graph)
    elif operations:
        node = operations[first % len(operations)]
        earlier = nodes[: nodes.index(node)] or [each for each in nodes if each.op == "placeholder"]
        change_node(node, kind, earlier[second % len(earlier)])


def change_node(node: fx.Node, kind: str, earlier: fx.Node) -> None:
    graph = node.graph
    if kind == "insert":
        with graph.inserting_before(node):
            node.args = (graph.call_function(torch.neg, (earlier,)), *node.args[1:])
    elif kind == "erase":
        node.replace_all_uses_with(earlier)
        graph.erase_node(node)
    elif kind == "retarget":
        node.target = torch.tanh if node.op == "call_function" else "tanh"
        node.args = node.args[:1]
    elif kind == "rewire":
        node.args = (earlier, *node.args[1:])
    elif kind == "rename":
        node.name = f"{node.name}_renamed"
    elif kind == "move":
        next(iter(graph.nodes)).prepend(node)
    elif kind == "meta":
        node.meta = {"other": 1}
    elif kind == "nested meta":
        node.meta.setdefault("custom", {"deep": []})["deep"].append(0)
    elif kind == "users":
        node.users.clear()


def text(graph_module: fx.GraphModule) -> str:
    """Everything that can be seen of a graph module, naively."""
    nodes = graph_module.graph.nodes
    lines = [f"{node.format_node()} {node.meta} {sorted(user.name for user in node.users)}" for node in nodes]
    return "\n".join([*lines, graph_module.code])


def ran(graph_module: fx.GraphModule, steps: list[Mutation]) -> list[Mutate]:
    """The mutations as passes."""
    return [lambda given, step=step: mutate(given, step) for step in steps]


@over_mutations.law
def test_what_fails_leaves_no_trace(spec: list[tuple[int, int, int]], steps: list[Mutation]) -> None:
    graph_module = build(spec)
    nodes, before = list(graph_module.graph.nodes), text(graph_module)

    def mutate_and_fail(given: fx.GraphModule) -> None:
        for step in steps:
            mutate(given, step)
        raise ZeroDivisionError

    with pytest.raises(PassError):
        PassManager([mutate_and_fail])(graph_module)
    assert list(graph_module.graph.nodes) == nodes
    assert text(graph_module) == before


@over_mutations.law
def test_a_snapshot_can_be_restored_again_and_again(spec: list[tuple[int, int, int]], steps: list[Mutation]) -> None:
    graph_module = build(spec)
    before = text(graph_module)
    snapshot = Snapshot.take(graph_module)
    for step in steps:
        mutate(graph_module, step)
        snapshot.restore()
        assert text(graph_module) == before


@over_mutations.law
def test_a_pipeline_does_what_its_passes_do_one_after_the_other(
    spec: list[tuple[int, int, int]], steps: list[Mutation]
) -> None:
    by_hand, graph_module = build(spec), build(spec)
    steps = [step for step in steps if step[0] not in ("graph", "users")]
    for step in steps:
        mutate(by_hand, step)
    by_hand.recompile()
    half = len(steps) // 2
    passes = ran(graph_module, steps)
    result = PassManager([PassManager(passes[:half]), *passes[half:]])(graph_module)
    assert text(result.graph_module) == text(by_hand)


@over_mutations.law
def test_changed_means_that_the_graph_reads_differently(
    spec: list[tuple[int, int, int]], steps: list[Mutation]
) -> None:
    graph_module = build(spec)
    for step in steps:
        if step[0] == "users":
            continue
        before, columns, seen = GraphState.of(graph_module), GraphColumns.of(graph_module.graph), lines(graph_module)
        mutate(graph_module, step)
        change = compare(before, GraphState.of(graph_module))
        assert bool(change) == (lines(graph_module) != seen)
        assert bool(changed_lines(columns, GraphColumns.of(graph_module.graph))) == bool(change)


def lines(graph_module: fx.GraphModule) -> list[str]:
    return [f"{node.op} {node.name} {node.target} {node.args} {node.kwargs}" for node in graph_module.graph.nodes]


@over_mutations.law
def test_a_diff_leads_from_one_graph_to_the_other(spec: list[tuple[int, int, int]], steps: list[Mutation]) -> None:
    graph_module = build(spec)
    before = GraphColumns.of(graph_module.graph)
    old = changed_lines(GraphColumns.of(fx.Graph()), before)
    for step in steps:
        mutate(graph_module, step)
    after = GraphColumns.of(graph_module.graph)
    new = changed_lines(GraphColumns.of(fx.Graph()), after)
    diff = changed_lines(before, after)
    if "@@" not in diff and diff:
        assert [line[2:] for line in diff if line[0] != "+"] == [line[2:] for line in old]
        assert [line[2:] for line in diff if line[0] != "-"] == [line[2:] for line in new]


@over_mutations.law
def test_nodes_that_did_not_move_are_in_order(spec: list[tuple[int, int, int]], steps: list[Mutation]) -> None:
    graph_module = build(spec)
    before = GraphState.of(graph_module)
    for step in steps:
        if step[0] != "graph":
            mutate(graph_module, step)
    after = GraphState.of(graph_module)
    change = compare(before, after)
    moved = {*change.moved, *change.added, *change.removed}
    stayed = [node for node in after.columns.nodes if node not in moved]
    assert stayed == [node for node in before.columns.nodes if node not in moved]
    assert len(change.moved) <= sum(step[0] == "move" for step in steps)


@given(graphs, st.integers(0, 30), st.integers(0, 30))
def test_the_hash_is_that_of_every_copy_and_of_no_other_graph(
    spec: list[tuple[int, int, int]], first: int, second: int
) -> None:
    graph_module, other = build(spec), build(spec)
    for node in other.graph.nodes:
        node.name = f"{node.name}_other"
        node.meta.clear()
    assert structural_hash(graph_module) == structural_hash(copy.deepcopy(graph_module)) == structural_hash(other)
    seen = lines(graph_module)
    mutate(graph_module, ("retarget", first, second))
    assert (structural_hash(graph_module) == structural_hash(other)) == (lines(graph_module) == seen)


@over_mutations.law
def test_whoever_was_touched_has_a_cause(spec: list[tuple[int, int, int]], steps: list[Mutation]) -> None:
    graph_module = build(spec)
    steps = [step for step in steps if step[0] not in ("graph", "move", "users", "rename")]
    before = {node: described(node) for node in graph_module.graph.nodes}
    provenance = Provenance()
    PassManager(ran(graph_module, steps), instruments=[provenance])(graph_module)
    for node in graph_module.graph.nodes:
        if before.get(node) != described(node):
            assert provenance.why(node) != ()
        if node in before and not steps:
            assert provenance.why(node) == ()


def described(node: fx.Node) -> str:
    return f"{node.op} {node.target} {node.args} {node.kwargs} {node.meta}"


@given(cases())
def test_every_graph_that_a_capture_makes_is_well_formed(case: Case) -> None:
    assert problems(capture_symbolic(case.module)) == []


words = st.text(string.printable, max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    words,
    st.sampled_from([nn.ReLU, torch.float16]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


@dataclass(frozen=True)
class Options(Pass):
    value: object = None
    several: tuple[object, ...] = ()
    table: Mapping[str, object] = field(default_factory=dict)
    flag: bool = False

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


passes = st.builds(
    Options, values, st.lists(scalars, max_size=3).map(tuple), st.dictionaries(words, values, max_size=3), st.booleans()
)
pipelines = st.recursive(
    st.lists(passes, max_size=3).map(PassManager),
    lambda inner: (
        st.lists(inner | passes, max_size=3).map(PassManager)
        | st.tuples(st.lists(inner | passes, max_size=3), st.integers(1, 9)).map(
            lambda made: PassManager([Repeat(*made)])
        )
    ),
    max_leaves=4,
)


@given(pipelines)
@example(PassManager([Options("A\n")]))
@example(PassManager([Options(table={"key\n": "0\n"})]))
def test_a_pipeline_and_its_text_say_the_same(pipeline: PassManager) -> None:
    sys.modules.setdefault(__name__, sys.modules[Options.__module__])
    assert PassManager.parse(str(pipeline)) == pipeline
    assert not math.isnan(len(str(pipeline)))
