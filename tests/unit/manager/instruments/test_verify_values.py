from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.mutations import node, replaces_input, retargets, sets_args, traced
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.errors import PassError, RequestError
from fxpasses.manager import PassManager, VerifyValues
from fxpasses.manager.contract import OutputsClaim


def negates_result(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    with graph_module.graph.inserting_before(output):
        output.args = (graph_module.graph.call_method("neg", output.args),)


def returns_the_first(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    output.args = (output.args[0][0],)


returns_the_first.outputs_claim = "subset"


def spells_relu_as_a_method(graph_module: fx.GraphModule) -> None:
    for call in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
        call.op, call.target = "call_method", "relu"


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


@pytest.mark.parametrize("wrong", [retargets, sets_args, replaces_input])
def test_other_values_are_found(wrong: Callable[[fx.GraphModule], None]) -> None:
    def harmless(graph_module: fx.GraphModule) -> None:
        node(graph_module, "add").target = torch.add

    values = VerifyValues([torch.randn(4, 3)])
    PassManager([harmless], instruments=[values])(traced())
    with pytest.raises(PassError, match=r"\(pass 2\): The graph returns something else than before"):
        PassManager([harmless, wrong], instruments=[values])(traced())


@pytest.mark.parametrize(
    ("claim", "outputs", "is_right"),
    [
        ("equal", lambda nodes: nodes["mul"], True),
        ("equal", lambda nodes: {"a": nodes["mul"]}, False),
        ("renamed", lambda nodes: {"a": nodes["mul"]}, True),
        ("renamed", lambda nodes: {"a": nodes["sum_1"]}, False),
        ("subset", lambda nodes: {"a": nodes["sum_1"], "b": nodes["add"]}, True),
        ("subset", lambda nodes: {"a": nodes["sum_1"], "b": 3}, True),
    ],
)
def test_what_may_change_is_what_the_pass_claims(
    claim: OutputsClaim, outputs: Callable[[dict[str, fx.Node]], object], is_right: bool
) -> None:
    def returns(graph_module: fx.GraphModule) -> None:
        nodes = {each.name: each for each in graph_module.graph.nodes}
        nodes["output"].args = (outputs(nodes),)

    returns.outputs_claim = claim
    manager = PassManager([returns], instruments=[VerifyValues([torch.randn(4, 3)])])
    if is_right:
        manager(traced())
    else:
        with pytest.raises(PassError, match="returns something else"):
            manager(traced())


def test_a_value_that_was_never_there_is_no_subset() -> None:
    def returns(graph_module: fx.GraphModule) -> None:
        nodes = {each.name: each for each in graph_module.graph.nodes}
        nodes["relu"].target = torch.sigmoid
        nodes["output"].args = ({"a": nodes["relu"]},)

    returns.outputs_claim = "subset"
    with pytest.raises(PassError, match=r"'relu', which is .*, is no value that the graph had before"):
        PassManager([returns], instruments=[VerifyValues([torch.randn(4, 3)])])(traced())


def test_of_several_later_writes_into_a_returned_value_some_may_go() -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        first, second = y.chunk(2)
        first.mul_(2)
        second.mul_(3)
        return second

    def drops_the_first_write(graph_module: fx.GraphModule) -> None:
        graph_module.graph.erase_node(node(graph_module, "mul_"))
        graph_module.graph.output_node().args = ([node(graph_module, "add"), node(graph_module, "getitem_1")],)

    drops_the_first_write.outputs_claim = "subset"
    values = VerifyValues([torch.tensor([-3.0, 2.0])])
    PassManager([drops_the_first_write], instruments=[values])(fx.symbolic_trace(writes))


def test_at_birth_allows_what_the_output_was_before_a_write() -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch.relu_(y)
        return y

    def protects(graph_module: fx.GraphModule) -> None:
        node(graph_module, "relu_").args = (node(graph_module, "x"),)

    protects.outputs_claim = "at_birth"
    inputs = [torch.tensor([-3.0, 2.0])]
    PassManager([protects], instruments=[VerifyValues(inputs)])(fx.symbolic_trace(writes))
    protects.outputs_claim = "equal"
    with pytest.raises(PassError, match="returns something else"):
        PassManager([protects], instruments=[VerifyValues(inputs)])(fx.symbolic_trace(writes))


def test_inputs_are_made_from_recorded_shapes() -> None:
    graph_module = traced()
    with pytest.raises(RequestError, match="The placeholder 'x' has no recorded shape"):
        PassManager([retargets], instruments=[VerifyValues()])(graph_module)
    ShapeProp(graph_module).propagate(torch.ones(2, 3))
    with pytest.raises(PassError, match="returns something else"):
        PassManager([retargets], instruments=[VerifyValues()])(graph_module)


def test_verifying_values_leaves_buffers_and_random_numbers_alone() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    graph_module = fx.symbolic_trace(network)
    before, versions = network[0].running_mean.clone(), network[0].running_mean._version
    inputs = [torch.randn(4, 3)]
    random = torch.random.get_rng_state()

    def renames(graph_module: fx.GraphModule) -> None:
        node(graph_module, "_1").name = "dropout"

    PassManager([renames, lambda _: None], instruments=[VerifyValues(inputs)])(graph_module)
    assert torch.equal(network[0].running_mean, before)
    assert network[0].running_mean._version == versions
    assert torch.equal(torch.random.get_rng_state(), random)
