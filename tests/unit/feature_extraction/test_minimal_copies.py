"""Each copy that an extractor makes is needed: without it some feature is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.zoo import build, inputs
from torch import fx, nn

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.graph.bits import cloned, first_difference


class Copies(fx.Interpreter):
    """Runs a graph and keeps what each copy was made of, itself and not cloned, beside the copy."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.pairs: dict[str, tuple[Any, Any]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if is_copy(n):
            (copied,) = self.fetch_args_kwargs_from_env(n)[0]
            self.pairs[n.name] = (copied, value)
        return value


def is_copy(node: fx.Node) -> bool:
    return "clone" in str(getattr(node.target, "__name__", node.target))


def with_trained_norms(model: nn.Module) -> nn.Module:
    """Lets no normalisation return positive values alone, as a fresh one does after a ReLU: there ReLU does nothing."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -1, 1)
    return model


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("name", "count"), [("resnet18", 25), ("alexnet", 7), ("densenet121", 121)])
def test_without_any_one_copy_some_feature_is_wrong(name: str, count: int, training: bool) -> None:
    model = with_trained_norms(build(name)).train(training)
    names = get_graph_node_names(model, mode="train" if training else "eval")
    extractor = create_feature_extractor(model, names)
    copies = Copies(extractor)
    with torch.no_grad():
        features = cloned(copies.run(inputs(name)))
    returned = {node for node in extractor.graph.output_node().all_input_nodes if is_copy(node)}
    assert {node.name for node in returned} == set(copies.pairs)
    # What would be returned in place of a copy is what it was made of, as it is when the graph has run.
    needless = [node for node, (copied, copy) in copies.pairs.items() if first_difference(copied, copy) is None]
    assert needless == []
    assert len(features) == len(names)
    assert len(copies.pairs) == count


def test_a_needless_copy_would_be_noticed() -> None:
    model = build("alexnet").eval()
    extractor = create_feature_extractor(model, ["avgpool", "features.0"])
    graph = extractor.graph
    pool = next(node for node in graph.nodes if node.target == "avgpool")
    with graph.inserting_after(pool):
        graph.call_method("clone", (pool,))
    extractor.recompile()
    copies = Copies(extractor)
    copies.run(inputs("alexnet"))
    assert [first_difference(*pair) is None for pair in copies.pairs.values()] == [False, True]
