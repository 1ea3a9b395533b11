"""The laws of comparing two graphs. The oracles: the edit that was made, and networkx's isomorphism."""

from __future__ import annotations

import itertools
import operator
from collections import OrderedDict
from functools import lru_cache

import networkx as nx
import torch
from hypothesis import assume
from hypothesis import strategies as st
from support.generated import Prepared, named_capture, small_cases
from torch import fx

from fxpasses.capture import capture_symbolic
from fxpasses.graph.digraph import to_networkx
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.serialize import copy_graph
from fxpasses.passes.diff_modes import DiffModes, ModeDiff, diff_as_networkx, diff_graphs
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing import Case, SharedRun

over_cases = SharedRun(small_cases, st.data())


@lru_cache(maxsize=1)  # several laws look at the same two
def _both_modes(case: Case) -> tuple[fx.Graph, fx.Graph]:
    module = Prepared.of(case).module
    train, eval_ = (NameNodes()(capture_symbolic(module, training=mode)).graph_module for mode in (True, False))
    return train.graph, eval_.graph


def _drawn_operation(graph: fx.Graph, data: st.DataObject) -> fx.Node:
    candidates = [node.name for node in graph.nodes if node.op in ("call_function", "call_method", "call_module")]
    assume(candidates)
    chosen = data.draw(st.sampled_from(candidates))
    return next(node for node in graph.nodes if node.name == chosen)


@over_cases.law
def test_a_graph_does_not_differ_from_itself(case: Case) -> None:
    captured = named_capture(case)
    assert diff_graphs(captured.graph, captured.graph) == ModeDiff()
    assert not DiffModes(named_capture(case))(captured).diff


@over_cases.law
def test_the_other_way_round_it_is_the_inverse(case: Case) -> None:
    train, eval_ = _both_modes(case)
    there, back = diff_graphs(train, eval_), diff_graphs(eval_, train)
    assert [change.name for change in there.only_train] == [change.name for change in back.only_eval]
    assert [change.name for change in there.only_eval] == [change.name for change in back.only_train]
    for kind in ("changed", "rewired"):
        pairs = {(change.name, change.train, change.eval) for change in getattr(there, kind)}
        assert pairs == {(change.name, change.eval, change.train) for change in getattr(back, kind)}
    assert len(there.reordered) == len(back.reordered)


def _as_plain_networkx(graph: fx.Graph) -> nx.DiGraph:
    """Builds a labelled graph from nothing but torch.fx, in another way than the package does."""
    result = nx.DiGraph()
    previous = None
    for node in graph.nodes:
        constants = fx.map_arg((node.args, node.kwargs), lambda each: f"%{qualified_name(each)}")
        result.add_node(node, label=(qualified_name(node), node.op, str(node.target), repr(constants)))
        result.add_edges_from((used, node) for used in node.all_input_nodes)
        if previous is not None:
            result.add_edge(previous, node)
        previous = node
    return result


@over_cases.law
def test_no_difference_means_isomorphic(case: Case) -> None:
    train, eval_ = _both_modes(case)
    same = nx.is_isomorphic(
        _as_plain_networkx(train),
        _as_plain_networkx(eval_),
        node_match=lambda one, other: one["label"] == other["label"],
    )
    assert same is not bool(diff_graphs(train, eval_))


@over_cases.law
def test_the_nodes_own_names_do_not_matter(case: Case) -> None:
    captured = named_capture(case)
    renamed = copy_graph(captured.graph)
    for index, node in enumerate(renamed.nodes):
        node._rename(f"node_{index}")
    assert not diff_graphs(captured.graph, renamed)


@over_cases.law
def test_a_changed_node_is_reported_and_nothing_else(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    edited = copy_graph(captured.graph)
    node = _drawn_operation(edited, data)
    node.args = (*node.args, "one argument more")
    diff = diff_graphs(captured.graph, edited)
    assert [change.name for change in diff.changes] == [qualified_name(node)]
    assert [change.status for change in diff.changes] == ["changed"]


@over_cases.law
def test_an_added_node_is_reported_and_nothing_else(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    edited = copy_graph(captured.graph)
    node = _drawn_operation(edited, data)
    with edited.inserting_after(node):
        added = edited.call_function(torch.relu, (node,))
    added.meta["custom"] = {"fxpasses": {"name": "an added one", "style": "exact"}}
    for first, second, status in ((captured.graph, edited, "only in eval"), (edited, captured.graph, "only in train")):
        (change,) = diff_graphs(first, second).changes
        assert (change.name, change.status) == ("an added one", status)


@over_cases.law
def test_another_input_is_reported_and_nothing_else(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    edited = copy_graph(captured.graph)
    node = _drawn_operation(edited, data)
    used = node.all_input_nodes
    earlier = []
    for other in edited.nodes:
        if other is node:
            break
        earlier.append(other)
    others = [other for other in earlier if other not in used]
    assume(used and others)
    node.replace_input_with(used[0], others[-1])
    (change,) = diff_graphs(captured.graph, edited).changes
    assert (change.name, change.status) == (qualified_name(node), "rewired")


@over_cases.law
def test_the_union_has_every_node_once_with_its_status(case: Case) -> None:
    train, eval_ = _both_modes(case)
    union = diff_as_networkx(train, eval_)
    status = {change.name: change.status for change in diff_graphs(train, eval_).changes}
    both = {qualified_name(node) or node.name for graph in (train, eval_) for node in graph.nodes}
    assert set(union.nodes) == both
    assert {name: status.get(name, "same") for name in both} == dict(union.nodes(data="status"))
    uses = sum(1 for _, _, modes in union.edges(data="modes") if "train" in modes)
    assert uses == sum(operator.length_hint(_uses(node)) for node in train.nodes)


def _uses(node: fx.Node) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def test_a_module_may_be_called_output() -> None:
    graph = NameNodes()(fx.symbolic_trace(torch.nn.Sequential(OrderedDict(output=torch.nn.ReLU())))).graph_module.graph
    assert set(to_networkx(graph)) == {"input", "output", ".output"}
    assert not diff_graphs(graph, graph)


def test_order_counts() -> None:
    graph = fx.symbolic_trace(lambda x: (torch.relu(x), torch.tanh(x))).graph
    other = copy_graph(graph)
    nodes = list(other.nodes)
    nodes[1].prepend(nodes[2])
    (change,) = diff_graphs(graph, other).changes
    assert change.status == "reordered"
    assert change.name in names_of(graph)


def names_of(graph: fx.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def _reordered_by(kept: list[str], wanted: list[str], listed: set[str]) -> list[str]:
    """`kept` with each listed name put right behind the name that it follows in `wanted`."""
    result = [name for name in kept if name not in listed]
    for index, name in enumerate(wanted):
        if name in listed:
            result.insert(result.index(wanted[index - 1]) + 1 if index else 0, name)
    return result


def _patched(train: fx.Graph, eval_: fx.Graph, diff: ModeDiff) -> list[tuple[object, ...]]:
    """Applies a difference: the nodes that it lists are taken from `eval_`, everything else is taken from `train`."""
    before, after = _rows(train), _rows(eval_)
    gone = {change.name for change in diff.only_train}
    content = {change.name for change in (*diff.only_eval, *diff.changed, *diff.rewired)}
    placed = {change.name for change in (*diff.only_eval, *diff.reordered)}
    order = _reordered_by([name for name in before if name not in gone], list(after), placed)
    return [(name, *(after if name in content else before)[name]) for name in order]


def _rows(graph: fx.Graph) -> dict[str, tuple[object, ...]]:
    """Each node by its name: what it is, with names for what it uses."""
    keys = {node: qualified_name(node) or node.name for node in graph.nodes}
    if graph.output_node().name in [qualified_name(node) for node in graph.nodes]:
        keys[graph.output_node()] = ".output"
    rows: dict[str, tuple[object, ...]] = {}
    for node in graph.nodes:
        arguments = fx.map_arg((node.args, dict(node.kwargs)), lambda each: f"%{keys[each]}")
        rows[keys[node]] = (node.op, str(node.target), repr(arguments))
    return rows


@over_cases.law
def test_a_graph_with_the_difference_applied_is_the_other_graph(case: Case) -> None:
    for first, second in itertools.permutations(_both_modes(case)):
        diff = diff_graphs(first, second)
        assert _patched(first, second, diff) == [(name, *row) for name, row in _rows(second).items()]


def _edit(graph: fx.Graph, kind: int, data: st.DataObject) -> None:
    node = _drawn_operation(graph, data)
    if kind == 0:
        node.args = (*node.args, "one argument more")
    elif kind == 1:
        with graph.inserting_after(node):
            added = graph.call_function(torch.relu, (node,))
        added.meta["custom"] = {"fxpasses": {"name": f"added {len(graph.nodes)}", "style": "exact"}}
    elif kind == 2 and node.all_input_nodes:
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)
    elif kind == 3 and node.next.op != "output" and node not in node.next.all_input_nodes:
        node.next.append(node)
    elif kind == 4 and len(node.all_input_nodes) > 1:
        one, other = node.all_input_nodes[:2]
        exchanged = {one: other, other: one}
        node.args = fx.map_arg(node.args, lambda used: exchanged.get(used, used))


@over_cases.law
def test_any_edits_are_told_completely(case: Case, data: st.DataObject) -> None:
    edits = data.draw(st.lists(st.integers(0, 4), max_size=5))
    captured = named_capture(case)
    edited = copy_graph(captured.graph)
    for kind in edits:
        _edit(edited, kind, data)
    for first, second in itertools.permutations((captured.graph, edited)):
        patched = _patched(first, second, diff_graphs(first, second))
        assert patched == [(name, *row) for name, row in _rows(second).items()]


@over_cases.law
def test_independent_nodes_in_another_order_are_a_matter_of_order_alone(case: Case, data: st.DataObject) -> None:
    captured = named_capture(case)
    edited = copy_graph(captured.graph)
    node = _drawn_operation(edited, data)
    assume(node.next.op != "output" and node not in node.next.all_input_nodes)
    node.next.append(node)
    diff = diff_graphs(captured.graph, edited)
    assert diff
    (change,) = diff.changes
    assert change.status == "reordered"
    assert change.name in {qualified_name(node), qualified_name(node.prev)}


@over_cases.law
def test_the_networkx_graph_tells_the_whole_graph(case: Case) -> None:
    captured = named_capture(case)
    digraph = to_networkx(captured.graph)
    rebuilt: dict[str, tuple[object, ...]] = {}
    for name, data in sorted(digraph.nodes(data=True), key=lambda entry: entry[1]["position"]):
        uses = sorted((argument, source) for source, _, argument in digraph.in_edges(name, data="argument"))
        assert [argument for argument, _ in uses] == list(range(len(uses)))
        text = data["constants"]
        for _, source in uses:
            text = text.replace("'%'", f"%{source}", 1)
        rebuilt[name] = (data["op"], text.replace(" ", ""))
    keys = dict(zip(captured.graph.nodes, digraph, strict=True))
    for node, (name, (op, text)) in zip(captured.graph.nodes, rebuilt.items(), strict=True):
        assert (keys[node], node.op) == (name, op)
        arguments = fx.map_arg((node.args, dict(node.kwargs)), lambda each: _Named(f"%{keys[each]}"))
        assert repr(arguments).replace(" ", "") == text


class _Named(str):
    """A name that is printed without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
