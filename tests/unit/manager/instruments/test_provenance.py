from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
from support.mutations import (
    copies_functionally,
    edits_meta,
    moves,
    moves_back,
    node,
    replaces,
    replaces_input,
    retargets,
    sets_args,
    sets_graph,
    traced,
)
from torch import fx

from fxpasses.errors import UnknownNodeError
from fxpasses.graph.edit import replace_call
from fxpasses.manager import PassManager, Provenance, Repeat


@pytest.mark.parametrize(
    ("mutation", "name", "chain"),
    [
        (replaces, "sigmoid", ["replaces (pass 1) made it in place of relu"]),
        (replaces, "sum_1", ["replaces (pass 1) edited args"]),
        (retargets, "relu", ["retargets (pass 1) edited target"]),
        (sets_args, "mul", ["sets_args (pass 1) edited args"]),
        (edits_meta, "relu", ["edits_meta (pass 1) edited meta['place']"]),
        (copies_functionally, "relu", ["copies_functionally (pass 1) edited target"]),
        (sets_graph, "relu", ["sets_graph (pass 1) edited target"]),
        (replaces_input, "relu", ["replaces_input (pass 1) edited args"]),
        (replaces_input, "add", []),
    ],
)
def test_why_tells_every_kind_of_mutation(
    mutation: Callable[[fx.GraphModule], object], name: str, chain: list[str]
) -> None:
    provenance = Provenance()
    result = PassManager([mutation], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why(name)] == chain
    assert provenance.why(node(result.graph_module, name)) == provenance.why(name)


def test_why_tells_a_move() -> None:
    provenance = Provenance()
    PassManager([moves, moves_back], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why("ones")] == [
        "moves (pass 1) made it",
        "moves_back (pass 2) moved it",
    ]
    assert provenance.why("add") == ()


def test_why_follows_a_node_through_replacements_and_copies() -> None:
    def swaps_back(graph_module: fx.GraphModule) -> None:
        sigmoid = node(graph_module, "sigmoid")
        replace_call(sigmoid, "call_method", "relu", sigmoid.args)

    def renames(graph_module: fx.GraphModule) -> fx.GraphModule:
        graph = fx.Graph()
        graph.output(graph.graph_copy(graph_module.graph, {}))
        return fx.GraphModule(graph_module, graph)

    provenance = Provenance()
    PassManager([retargets, replaces, swaps_back, renames], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why("relu_1")] == [
        "retargets (pass 1) edited target",
        "replaces (pass 2) made it in place of relu",
        "swaps_back (pass 3) made it in place of sigmoid",
    ]
    with pytest.raises(UnknownNodeError, match="no node 'sigmoid'"):
        provenance.why("sigmoid")


def test_each_round_of_a_repetition_is_told_by_itself() -> None:
    def doubles(graph_module: fx.GraphModule) -> None:
        """Replaces the constant operand by one that is twice as large, up to four."""
        mul = next(iter(graph_module.graph.find_nodes(op="call_function", target=operator.mul)))
        if mul.args[1] < 4:
            replace_call(mul, mul.op, mul.target, (mul.args[0], mul.args[1] * 2))
            node(graph_module, "sum_1").kwargs = {"dim": -mul.args[1]}

    def graph_module_of(x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=0) * 1

    provenance = Provenance()
    result = PassManager([Repeat([doubles])], instruments=[provenance])(fx.symbolic_trace(graph_module_of))
    (mul,) = result.graph_module.graph.find_nodes(op="call_function", target=operator.mul)
    assert [str(cause) for cause in provenance.why(mul)] == [
        "doubles (pass 1.1) made it in place of mul",
        "doubles (pass 1.1) made it in place of mul_1",
    ]
    assert [str(cause) for cause in provenance.why("sum_1")] == ["doubles (pass 1.1) edited kwargs"] * 2


def test_what_one_pass_edits_of_a_node_is_one_cause() -> None:
    def edits(graph_module: fx.GraphModule) -> None:
        retargets(graph_module)
        edits_meta(graph_module)
        node(graph_module, "relu").meta.update(dict.fromkeys("hbfdaceg"))

    provenance = Provenance()
    PassManager([edits, edits_meta], instruments=[provenance])(traced())
    (cause,) = provenance.why("relu")
    assert cause.fields == ("target", *(f"meta['{key}']" for key in "abcdefgh"), "meta['place']")


def test_a_node_that_is_not_in_the_graph_is_told_by_its_name() -> None:
    provenance, graph_module = Provenance(), traced()
    gone = node(graph_module, "relu")
    PassManager([replaces], instruments=[provenance])(graph_module)
    with pytest.raises(UnknownNodeError, match=r"has no node 'relu'\.$"):
        provenance.why(gone)


def test_a_node_that_a_copy_leaves_out_is_forgotten() -> None:
    def leaves_mul_out(graph_module: fx.GraphModule) -> fx.GraphModule:
        graph = fx.Graph()
        graph.graph_copy(graph_module.graph, node_of := {})
        graph.erase_node(node_of[node(graph_module, "mul")])
        graph.output(node_of[node(graph_module, "sum_1")])
        return fx.GraphModule(graph_module, graph)

    provenance = Provenance()
    PassManager([sets_args, retargets, leaves_mul_out], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why("relu")] == ["retargets (pass 2) edited target"]
    with pytest.raises(UnknownNodeError, match="no node 'mul'"):
        provenance.why("mul")
