from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.mutations import node
from torch import fx

from fxpasses.graph.edit import replace_call
from fxpasses.manager import AuditMeta, MetaLoss, PassManager


def traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(lambda x: torch.relu(x + 1))
    for each in graph_module.graph.nodes:
        each.meta["cost"] = 1
    return graph_module


def strips(graph_module: fx.GraphModule) -> None:
    for each in graph_module.graph.nodes:
        each.meta.clear()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("a", "a"),
        ("abcde", "a, b, c, d, e"),
        ("abcdef", "a, b, c, d, e and 1 more"),
        ("abcdefgh", "a, b, c, d, e and 3 more"),
    ],
)
def test_of_many_nodes_five_are_told(names: str, told: str) -> None:
    loss = MetaLoss("strips", (1,), "cost", tuple(names), "removed")
    assert str(loss) == f"strips (pass 2) lost meta['cost'] on {told} (removed)"


def test_losses_are_those_of_the_last_run() -> None:
    audit = AuditMeta()
    manager = PassManager([strips], instruments=[audit])
    for _ in range(2):
        manager(traced())
        assert audit.losses == [MetaLoss("strips", (0,), "cost", ("x", "add", "relu", "output"), "removed")]
    manager(fx.symbolic_trace(torch.nn.ReLU()))
    assert audit.losses == []
    assert str(audit) == "no meta was lost"


@pytest.mark.parametrize(("keys", "told"), [(None, ["cost", "place"]), (["place"], ["place"]), (["other"], [])])
def test_only_keys_that_were_asked_for_are_looked_at(keys: list[str] | None, told: list[str]) -> None:
    audit, graph_module = AuditMeta(keys), traced()
    graph_module.graph.output_node().meta["place"] = "end"
    PassManager([strips], instruments=[audit])(graph_module)
    assert [loss.key for loss in audit.losses] == told


def inserts(graph_module: fx.GraphModule) -> fx.Node:
    with graph_module.graph.inserting_after(node(graph_module, "add")):
        new = graph_module.graph.call_method("neg", (node(graph_module, "add"),))
    node(graph_module, "relu").args = (new,)
    return new


def inserts_without(graph_module: fx.GraphModule) -> None:
    inserts(graph_module)


def inserts_with_meta(graph_module: fx.GraphModule) -> None:
    inserts(graph_module).meta["cost"] = 2


def replaces_with_meta(graph_module: fx.GraphModule) -> None:
    relu = node(graph_module, "relu")
    replace_call(relu, "call_method", "relu", relu.args)


@pytest.mark.parametrize("pass_", [inserts_with_meta, replaces_with_meta])
def test_a_new_node_that_has_the_meta_lost_nothing(pass_: Callable[[fx.GraphModule], None]) -> None:
    audit = AuditMeta()
    assert PassManager([pass_], instruments=[audit])(traced()).modified
    assert audit.losses == []


def test_a_new_operation_lacks_what_every_operation_had_though_inputs_had_it_not() -> None:
    audit, graph_module = AuditMeta(), traced()
    node(graph_module, "x").meta.clear()
    PassManager([inserts_without], instruments=[audit])(graph_module)
    assert audit.losses == [MetaLoss("inserts_without", (0,), "cost", ("neg",), "new")]
