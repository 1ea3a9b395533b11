from __future__ import annotations

import random

import pytest
import torch
from torch import fx, nn

from fxpasses.errors import RequestError
from fxpasses.graph.reduce import minimize


def _reaches(source, sink):
    """Whether a value of one function reaches another one."""

    def fails(graph_module: fx.GraphModule, args) -> bool:
        reached: set[fx.Node] = set()
        for node in graph_module.graph.nodes:
            if any(each in reached for each in node.all_input_nodes):
                if node.target is sink:
                    return True
                reached.add(node)
            if node.target is source:
                reached.add(node)
        return False

    return fails


def tanh_reaches_sub(size: int) -> fx.GraphModule:
    """A graph in which each operation depends on the one before, a tanh is at a third and a sub at two thirds."""
    draw = random.Random(size)
    graph = fx.Graph()
    values = [graph.placeholder("x"), graph.placeholder("y")]
    for index in range(size):
        if index == size // 3:
            values.append(graph.call_function(torch.tanh, (values[-1],)))
        elif index == 2 * size // 3:
            values.append(graph.call_function(torch.sub, (values[-1], values[0])))
        elif draw.random() < 0.5:
            values.append(graph.call_function(draw.choice([torch.relu, torch.sin, torch.cos]), (values[-1],)))
        else:
            values.append(graph.call_function(draw.choice([torch.add, torch.mul]), (values[-1], draw.choice(values))))
    graph.output(values[-1])
    return fx.GraphModule({}, graph)


def _targets(graph_module: fx.GraphModule) -> list[str]:
    nodes = [node for node in graph_module.graph.nodes if node.op not in ("placeholder", "output")]
    return [getattr(node.target, "__name__", str(node.target)) for node in nodes]


@pytest.mark.parametrize("size", [10, 30, 100, 300])
def test_a_long_graph_becomes_the_two_operations_that_matter(size: int) -> None:
    graph_module = tanh_reaches_sub(size)
    code = graph_module.code
    reduced = minimize(graph_module, [torch.randn(4, 4), torch.randn(4, 4)], _reaches(torch.tanh, torch.sub))
    assert _targets(reduced.graph_module) == ["tanh", "sub"]
    assert len(reduced.graph_module.graph.nodes) <= 5
    assert reduced.queries <= 100
    assert [tuple(arg.shape) for arg in reduced.args] in ([(1, 1)], [(1, 1), (1, 1)])
    assert graph_module.code == code


def test_the_reduced_graph_runs_with_the_reduced_inputs() -> None:
    model = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6)))

    def fails(graph_module, args) -> bool:
        calls = [str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"]
        return "3" in calls and graph_module(*args).shape[-1] > 0

    graph_module, args = minimize(model, [torch.randn(2, 3)], fails)
    assert _targets(graph_module) == ["3"]
    assert graph_module(*args).shape == args[0].shape


def test_a_predicate_on_values_keeps_shapes_and_values_apart() -> None:
    def model(x, y):
        z = torch.cos(x) + y.sum(dim=1, keepdim=True)
        return {"a": torch.sin(z) * y, "b": torch.sqrt(x - 5), "c": x.view(-1)}

    def fails(graph_module, args) -> bool:
        output = graph_module(*args)
        leaves = output.values() if isinstance(output, dict) else output if isinstance(output, tuple) else [output]
        finite = all(bool(arg.isfinite().all()) for arg in args)
        return finite and any(bool(leaf.isnan().any()) for leaf in leaves)

    reduced = minimize(fx.symbolic_trace(model), [torch.ones(2, 3), torch.ones(2, 3)], fails)
    assert _targets(reduced.graph_module)[-1] == "sqrt"
    assert len(reduced.graph_module.graph.nodes) <= 4
    assert fails(reduced.graph_module, reduced.args)


def test_an_effect_without_a_use_stays_if_it_matters() -> None:
    def model(x):
        y = torch.sin(x)
        z = torch.cos(y)
        y.add_(1)
        return torch.exp(y) + z

    def fails(graph_module, args) -> bool:
        return "add_" in _targets(graph_module)

    reduced = minimize(fx.symbolic_trace(model), [torch.ones(2)], fails)
    assert _targets(reduced.graph_module) == ["add_"]


def test_it_does_not_slide_to_another_failure() -> None:
    def model(x):
        return torch.tan(torch.exp(x)) + torch.log(x)

    def fails(graph_module, args) -> str:
        names = _targets(graph_module)
        return "first" if "tan" in names else "second" if "log" in names else ""

    assert _targets(minimize(fx.symbolic_trace(model), [torch.ones(1)], fails).graph_module) == ["tan"]


def test_inputs_that_are_no_tensors() -> None:
    def model(tensors, scale=2.0):
        return torch.relu(torch.sin(tensors["a"]) * scale)

    def fails(graph_module, args) -> bool:
        graph_module(*args)
        return "sin" in _targets(graph_module)

    reduced = minimize(fx.symbolic_trace(model), [{"a": torch.ones(2)}], fails)
    assert "relu" not in _targets(reduced.graph_module)
    assert "mul" not in _targets(reduced.graph_module)


def test_placeholders_cut_what_comes_before() -> None:
    def model(x):
        for _ in range(5):
            x = x.reshape(2, 3).sum(0).repeat(2)
        return torch.tanh(x)

    def fails(graph_module, args) -> bool:
        return "tanh" in _targets(graph_module) and graph_module(*args).shape == (6,)

    args = [torch.ones(6)]
    without = minimize(fx.symbolic_trace(model), args, fails, deltas=["outputs", "placeholders"])
    assert _targets(without.graph_module) == ["tanh"]
    assert without.steps[-1][0] == "placeholders"


def test_only_the_named_deltas_are_tried() -> None:
    model = fx.symbolic_trace(lambda x: torch.sin(torch.cos(x)))
    reduced = minimize(model, [torch.ones(4)], lambda graph_module, args: True, deltas=["shapes"])
    assert _targets(reduced.graph_module) == ["cos", "sin"]
    assert reduced.args[0].shape == (1,)
    assert [name for name, _ in reduced.steps] == ["shapes"]


def test_an_operation_that_changes_the_shape_is_bypassed_too() -> None:
    model = fx.symbolic_trace(lambda x: torch.tanh(x.sum(1)))
    reduced = minimize(model, [torch.ones(2, 3)], lambda module, _: "tanh" in _targets(module), deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["tanh"]


def test_bypassing_operations_keeps_the_inputs() -> None:
    model = fx.symbolic_trace(lambda x, unused: torch.tanh(x))
    reduced = minimize(model, [torch.ones(2)] * 2, lambda *_: True, deltas=["bypass"])
    assert _targets(reduced.graph_module) == []
    assert len(reduced.graph_module.graph.find_nodes(op="placeholder")) == len(reduced.args) == 2


@pytest.mark.parametrize("wanted", ["sin", "cos", "tan"])
def test_of_several_outputs_the_one_that_matters_stays(wanted: str) -> None:
    model = fx.symbolic_trace(lambda x: (torch.sin(x), torch.cos(x), torch.tan(x)))
    reduced = minimize(model, [torch.ones(2)], lambda module, _: wanted in _targets(module), deltas=["outputs"])
    assert _targets(reduced.graph_module) == [wanted]


def test_one_input_takes_the_place_of_all_others_of_its_type() -> None:
    model = fx.symbolic_trace(lambda x, y, z: (x, y, z))
    fails = lambda module, args: len(module(*args)) == 3  # noqa: E731 - a predicate
    reduced = minimize(model, [torch.ones(2)] * 3, fails, deltas=["inputs"])
    assert len(reduced.graph_module.graph.find_nodes(op="placeholder")) == len(reduced.args) == 1


def test_each_candidate_is_asked_about_once() -> None:
    asked: list[tuple[str, str]] = []

    def fails(graph_module, args) -> bool:
        asked.append((str(graph_module.graph), str([arg.shape for arg in args])))
        return "tanh" in _targets(graph_module)

    reduced = minimize(tanh_reaches_sub(30), [torch.ones(2, 2)] * 2, fails)
    assert reduced.queries == len(asked) == len(set(asked))


def test_no_step_is_told_where_nothing_became_smaller() -> None:
    model = fx.symbolic_trace(lambda x: x + 1)
    reduced = minimize(model, [torch.ones(1)], lambda module, _: "add" in _targets(module))
    assert reduced.steps == ()


@pytest.mark.parametrize("bound", [1, 5])
def test_the_number_of_queries_is_bounded(bound: int) -> None:
    args = [torch.ones(1)] * 2
    reduced = minimize(tanh_reaches_sub(100), args, _reaches(torch.tanh, torch.sub), max_queries=bound)
    assert reduced.queries == bound


def test_requests_that_cannot_be_meant() -> None:
    model = fx.symbolic_trace(lambda x: x + 1)
    with pytest.raises(RequestError, match="no delta is called 'bypas'"):
        minimize(model, [torch.ones(1)], lambda *_: True, deltas=["bypas"])
    with pytest.raises(RequestError, match="does not fail"):
        minimize(model, [torch.ones(1)], lambda *_: False)


def test_what_used_an_operation_may_use_any_of_its_inputs_instead() -> None:
    model = fx.symbolic_trace(lambda x: x - torch.tanh(x))
    reduced = minimize(model, [torch.ones(2)], lambda module, _: "tanh" in _targets(module), deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["tanh"]


def test_the_first_operations_may_go_together_where_none_may_go_alone() -> None:
    model = fx.symbolic_trace(lambda x: torch.neg(torch.tanh(torch.cos(torch.sin(x)))))

    def fails(graph_module, args) -> bool:
        targets = _targets(graph_module)
        return {"tanh", "neg"} <= set(targets) and ("sin" in targets) == ("cos" in targets)

    reduced = minimize(model, [torch.ones(2)], fails, deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["tanh", "neg"]


def test_a_large_input_is_not_taken_for_a_small_one_that_prints_alike() -> None:
    model = fx.symbolic_trace(lambda x: x + 1)
    reduced = minimize(model, [torch.zeros(100, 100)], lambda _, args: len(args[0]) >= 50, deltas=["shapes"])
    assert [tuple(arg.shape) for arg in reduced.args] == [(50, 50)]


def test_a_predicate_that_raises_has_not_failed() -> None:
    model = fx.symbolic_trace(lambda x: torch.sin(torch.tanh(x)))

    def fails(graph_module, args) -> bool:
        if "sin" not in _targets(graph_module):
            raise ValueError("this is another graph")
        return True

    reduced = minimize(model, [torch.ones(1)], fails)
    assert _targets(reduced.graph_module) == ["sin"]
    with pytest.raises(RequestError, match="does not fail"):
        minimize(reduced.graph_module, reduced.args, lambda *_: 1 / 0)


def test_each_leaf_of_a_nested_input_is_an_input() -> None:
    leaves = {"a": fx.PH, "b": fx.PH}
    model = fx.symbolic_trace(lambda x: torch.tanh(x["a"]) + x["b"], concrete_args={"x": leaves})

    def fails(graph_module, args) -> bool:
        return graph_module(*args) is not None and "tanh" in _targets(graph_module)

    reduced = minimize(model, [torch.ones(2), torch.ones(2)], fails)
    assert _targets(reduced.graph_module) == ["tanh"]
    assert len(reduced.args) == 1


def test_an_input_with_a_default_may_be_given() -> None:
    def model(x, scale=2.0):
        return x * scale

    asked: list[int] = []

    def fails(graph_module, args) -> bool:
        asked.append(len(args))
        return bool((graph_module(*args) == 3).all())

    reduced = minimize(fx.symbolic_trace(model), [torch.ones(2), 3.0], fails, deltas=["shapes", "inputs"])
    assert reduced.args[1] == 3.0
    assert set(asked) == {2}


def test_inputs_that_are_missing_are_told_by_the_predicate() -> None:
    model = fx.symbolic_trace(lambda x, y: x + y)
    with pytest.raises(RequestError, match="does not fail"):
        minimize(model, [torch.ones(1)], lambda module, args: module(*args) is not None)


def test_what_helps_only_after_another_reduction_is_tried_again() -> None:
    model = fx.symbolic_trace(lambda x, y: torch.tanh(x) + y)
    reduced = minimize(
        model, [torch.ones(2)] * 2, lambda module, _: "tanh" in _targets(module), deltas=["inputs", "bypass"]
    )
    assert _targets(reduced.graph_module) == ["tanh"]
    assert len(reduced.args) == 1


def test_an_unused_operation_without_inputs_goes() -> None:
    graph = fx.Graph()
    graph.call_function(torch.rand, (2,))
    graph.output(graph.call_function(torch.tanh, (graph.placeholder("x"),)))
    model = fx.GraphModule({}, graph)
    reduced = minimize(model, [torch.ones(2)], lambda module, _: "tanh" in _targets(module), deltas=["bypass"])
    assert _targets(reduced.graph_module) == ["tanh"]


def test_with_an_operation_goes_what_only_it_used() -> None:
    model = fx.symbolic_trace(lambda x: torch.tanh(x) + torch.sin(torch.cos(x)))

    def fails(graph_module, args) -> bool:
        targets = _targets(graph_module)
        return "tanh" in targets and ("sin" in targets) == ("cos" in targets)

    assert _targets(minimize(model, [torch.ones(2)], fails, deltas=["bypass"]).graph_module) == ["tanh"]


def test_an_input_of_the_same_type_takes_the_place_of_an_operation() -> None:
    def model(x, mask):
        for _ in range(2):
            x = torch.where(mask, x, x)
        return torch.tanh(torch.neg(x))

    def fails(graph_module, args) -> bool:
        targets = _targets(graph_module)
        graph_module(*args)  # the negative of a truth value is none
        return targets[-2:] == ["neg", "tanh"] and targets.count("where") != 1

    args = [torch.ones(2), torch.ones(2) > 0]
    assert _targets(minimize(fx.symbolic_trace(model), args, fails, deltas=["bypass"]).graph_module) == ["neg", "tanh"]


@pytest.mark.parametrize("wanted", ["sin", "cos", "tanh", "exp", "neg"])
def test_what_comes_after_the_failure_goes(wanted: str) -> None:
    def model(x):
        y = torch.cos(torch.sin(x))
        y.add_(1)
        return torch.neg(torch.exp(torch.tanh(y)))

    reduced = minimize(
        fx.symbolic_trace(model), [torch.ones(2)], lambda module, _: wanted in _targets(module), deltas=["truncate"]
    )
    every = ["sin", "cos", "add_", "tanh", "exp", "neg"]
    assert _targets(reduced.graph_module) == every[: every.index(wanted) + 1]


def test_an_input_after_the_value_that_is_returned_stays() -> None:
    graph = fx.Graph()
    weight = graph.get_attr("weight")
    graph.output(graph.call_function(torch.mul, (graph.placeholder("x"), weight)))
    model = fx.GraphModule({"weight": torch.ones(2)}, graph)
    reduced = minimize(model, [torch.ones(2)], lambda module, args: module(*args) is not None, deltas=["truncate"])
    assert _targets(reduced.graph_module) == ["weight"]
    assert len(reduced.args) == 1


def test_what_only_later_operations_used_goes_with_them() -> None:
    model = fx.symbolic_trace(lambda x: torch.exp(torch.sin(x) + torch.cos(x)))
    reduced = minimize(model, [torch.ones(2)], lambda module, _: "cos" in _targets(module), deltas=["truncate"])
    assert _targets(reduced.graph_module) == ["cos"]


@pytest.mark.parametrize(
    "wanted", [["sin", "cos"], ["sin", "exp"], ["cos", "tan", "exp"], ["sin", "cos", "tan", "exp"]]
)
def test_of_several_outputs_those_that_matter_stay(wanted: list[str]) -> None:
    model = fx.symbolic_trace(lambda x: (torch.sin(x), torch.cos(x), torch.tan(x), torch.exp(x)))
    fails = lambda module, _: set(wanted) <= set(_targets(module))  # noqa: E731 - a predicate
    reduced = minimize(model, [torch.ones(2)], fails, deltas=["outputs"])
    assert _targets(reduced.graph_module) == wanted
