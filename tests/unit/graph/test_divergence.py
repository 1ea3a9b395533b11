from __future__ import annotations

import operator

import torch
from torch import fx, nn

from fxpasses.graph.divergence import first_divergence, shortened, values_at_birth


def _graph(*operations) -> fx.GraphModule:
    """A chain of one-argument functions, named `step_0`, `step_1`, …"""
    graph = fx.Graph()
    value = graph.placeholder("x")
    for index, operation in enumerate(operations):
        value = graph.create_node("call_function", operation, (value,), name=f"step_{index}")
    graph.output(value)
    return fx.GraphModule({}, graph)


def test_equal_graphs_do_not_diverge() -> None:
    assert first_divergence(_graph(torch.sin, torch.cos), _graph(torch.sin, torch.cos), [torch.ones(2)]) is None


def test_the_first_of_several_nodes_that_differ_is_found() -> None:
    found = first_divergence(
        _graph(torch.sin, torch.cos, torch.exp), _graph(torch.sin, torch.tan, torch.exp), [torch.ones(1)]
    )
    assert found is not None
    assert found.node.name == "step_1"
    assert torch.equal(found.expected, torch.cos(torch.sin(torch.ones(1))))
    assert torch.equal(found.actual, torch.tan(torch.sin(torch.ones(1))))
    assert "expected: tensor([" in str(found)


def test_values_are_compared_as_they_were_made_and_not_as_they_were_overwritten() -> None:
    def before(x):
        y = torch.sin(x)
        return torch.relu_(y) + y

    def after(x):
        y = torch.sin(x)
        return torch.neg_(y) + y

    found = first_divergence(fx.symbolic_trace(before), fx.symbolic_trace(after), [-torch.ones(1)])
    assert found is not None
    assert found.node.name == "add"


def test_a_node_that_raises_is_where_they_diverge() -> None:
    found = first_divergence(_graph(torch.sin), _graph(torch.inverse), [torch.ones(2)])
    assert found is not None
    assert isinstance(found.actual, RuntimeError)
    assert found.difference.startswith("raises")
    assert "While executing" not in str(found.actual)


def test_a_run_leaves_buffers_inputs_and_the_random_state_alone() -> None:
    module = fx.symbolic_trace(nn.Sequential(nn.BatchNorm1d(2), nn.ReLU(inplace=True), nn.Dropout()))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    x, random = torch.randn(3, 2), torch.get_rng_state()
    values = values_at_birth(module, [x])
    assert len(values) == 5
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_inputs_by_keyword_and_defaults() -> None:
    graph_module = fx.symbolic_trace(lambda x, scale=2.0: x * scale)
    assert values_at_birth(graph_module, [torch.ones(1)])["mul"].item() == 2.0
    assert values_at_birth(graph_module, [], {"x": torch.ones(1), "scale": 3.0})["mul"].item() == 3.0


def test_long_values_are_shortened() -> None:
    assert len(shortened(torch.zeros(100), 50)) == 50
    assert shortened(12345, 5) == "12345"
    assert shortened(12345, 4) == "123…"


def test_the_seed_alone_decides_what_is_drawn() -> None:
    graph_module = _graph(torch.rand_like)
    drawn = [values_at_birth(graph_module, [torch.zeros(4)], seed=seed)["step_0"] for seed in (7, 8)]
    torch.rand(1)
    assert torch.equal(values_at_birth(graph_module, [torch.zeros(4)], seed=7)["step_0"], drawn[0])
    assert not torch.equal(*drawn)


def test_the_first_node_of_all_may_raise() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(operator.truediv, (1, 0)))
    (error,) = values_at_birth(fx.GraphModule({}, graph), []).values()
    assert isinstance(error, ZeroDivisionError)


def test_inputs_are_given_by_position_under_whatever_name() -> None:
    before, after = fx.symbolic_trace(lambda x, y: x - y), fx.symbolic_trace(lambda y, x: y - x)
    assert first_divergence(before, after, [torch.ones(1), torch.zeros(1)]) is None
