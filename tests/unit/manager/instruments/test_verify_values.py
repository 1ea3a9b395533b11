from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx, nn

from fxpasses.errors import PassError
from fxpasses.manager import PassManager, VerifyValues


def negates_result(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    with graph_module.graph.inserting_before(output):
        output.args = (graph_module.graph.call_method("neg", output.args),)


def returns_the_first(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    output.args = (output.args[0][0],)


returns_the_first.outputs_claim = "subset"


def spells_relu_as_a_method(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        node.op, node.target = "call_method", "relu"


def test_a_graph_runs_again_only_after_a_change() -> None:
    runs: list[torch.Tensor] = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        runs.append(x)
        return torch.relu(x)

    graph = fx.Graph()
    graph.output(graph.call_function(counted, (graph.placeholder("x"),)))
    passes = [lambda _: None, negates_result, lambda _: None]
    with pytest.raises(PassError, match=r"negates_result \(pass 2\): The graph returns something else"):
        PassManager(passes, instruments=[VerifyValues([torch.ones(2)])])(fx.GraphModule(nn.Module(), graph))
    assert len(runs) == 2


def test_a_pass_is_compared_with_what_the_one_before_it_left() -> None:
    manager = PassManager([returns_the_first, spells_relu_as_a_method], instruments=[VerifyValues([torch.randn(3)])])
    result = manager(fx.symbolic_trace(lambda x: [torch.relu(x), x + 1]))
    assert [each.changed for each in result.report.children] == [True, True]


@pytest.mark.parametrize(("options", "seed"), [({}, 0), ({"seed": 5}, 5)])
def test_random_operations_draw_what_the_seed_gives(options: dict[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    drawn = torch.rand(3)

    def draws_in_advance(graph_module: fx.GraphModule) -> None:
        graph_module.register_buffer("drawn", drawn)
        (node,) = graph_module.graph.find_nodes(op="call_function", target=torch.rand_like)
        with graph_module.graph.inserting_before(node):
            node.replace_all_uses_with(graph_module.graph.get_attr("drawn"))
        graph_module.graph.erase_node(node)

    values = VerifyValues([torch.ones(3)], **options)
    assert PassManager([draws_in_advance], instruments=[values])(fx.symbolic_trace(lambda x: torch.rand_like(x) + x))
