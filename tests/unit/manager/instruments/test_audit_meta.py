from __future__ import annotations

import pytest
import torch
from torch import fx

from fxpasses.manager import AuditMeta, MetaLoss, PassManager


def traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(lambda x: torch.relu(x + 1))
    for node in graph_module.graph.nodes:
        node.meta["cost"] = 1
    return graph_module


def strips(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        node.meta.clear()


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
