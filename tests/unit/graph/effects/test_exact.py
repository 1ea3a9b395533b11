"""Effects that are observed in a run on tensors without data."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.state import ModelState
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects import Effects, analyze_effects, exact


def _node(graph_module: fx.GraphModule, name: str) -> fx.Node:
    return next(node for node in graph_module.graph.nodes if node.name == name)


def _observed(module: nn.Module, *inputs: object) -> tuple[fx.GraphModule, Effects]:
    graph_module = fx.symbolic_trace(module)
    effects = analyze_effects(graph_module, example_inputs=inputs)
    return graph_module, effects


class _Cached(nn.Module):
    """Keeps plain tensors and numbers beside its parameters, as leaves of other libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.zeros(2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.cache.add_(1)
        return x + self.cache


def _with_leaves(*modules: nn.Module) -> fx.GraphModule:
    model = nn.Sequential(*modules)
    graph = fx.Graph()
    value = graph.placeholder("x")
    for index in range(len(modules)):
        value = graph.call_module(str(index), (value,))
    graph.output(value)
    return fx.GraphModule(model, graph)


def test_the_model_is_as_it_was_and_nothing_is_computed() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(inplace=True), nn.Dropout(0.5)).train()
    inputs = torch.randn(3, 2)
    before, generator = ModelState.of(model), torch.get_rng_state()
    graph_module, effects = _observed(model, inputs)
    assert effects.exact
    assert effects.written_operands(_node(graph_module, "_2")) == (_node(graph_module, "_1"),)
    assert torch.equal(torch.get_rng_state(), generator)
    before.assert_same(model)


def test_running_statistics_are_seen_though_no_schema_tells() -> None:
    graph_module, effects = _observed(nn.Sequential(nn.BatchNorm1d(2)).train(), torch.randn(3, 2))
    assert effects.writes[_node(graph_module, "_0")] <= effects.state
    graph_module, effects = _observed(nn.Sequential(nn.BatchNorm1d(2)).eval(), torch.randn(3, 2))
    assert not effects.writes


def test_a_view_that_is_no_view_for_these_inputs_is_none() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1).t().reshape(-1).relu_()

    graph_module, effects = _observed(Model(), torch.randn(2, 3))
    assert effects.exact
    assert not effects.may_write(_node(graph_module, "relu_"), _node(graph_module, "add"))
    static = analyze_effects(graph_module)
    assert static.may_write(_node(graph_module, "relu_"), _node(graph_module, "add"))


@pytest.mark.parametrize("inputs", [(torch.randn(2, 2),), ((torch.randn(2, 2), torch.ones(2, 2)),)])
def test_inputs_may_be_nested(inputs: tuple[object, ...]) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[0].add_(x[1])

    graph_module, effects = _observed(Model(), *inputs)
    assert effects.exact
    assert effects.writes[_node(graph_module, "add_")] <= effects.inputs


def _refuse() -> None:
    raise NotImplementedError


@pytest.mark.parametrize("other_way", ["_on_meta", "_on_fake"])
def test_tensors_that_share_memory_share_it_in_the_run(monkeypatch: pytest.MonkeyPatch, other_way: str) -> None:
    monkeypatch.setattr(exact, other_way, _refuse)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("whole", torch.zeros(2, 2))
            self.register_buffer("row", self.whole[0])

        def forward(self, x: Tensor) -> Tensor:
            self.row.add_(1)
            return self.whole + x

    graph = fx.Graph()
    x, row, whole = graph.placeholder("x"), graph.get_attr("row"), graph.get_attr("whole")
    written = graph.call_method("add_", (row, 1))
    graph.output(graph.call_function(torch.add, (whole, x)))
    effects = analyze_effects(fx.GraphModule(Model(), graph), example_inputs=(torch.ones(2, 2),))
    assert effects.exact
    assert effects.may_write(written, whole)


def test_a_plain_tensor_of_a_leaf_is_never_written() -> None:
    module = _Cached()
    analyze_effects(_with_leaves(module), example_inputs=(torch.ones(2),))
    assert module.cache.tolist() == [0, 0]
    assert module.calls == 0


def test_a_graph_that_names_the_device_of_its_inputs_is_run_too() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    zeros = graph.call_function(torch.zeros, (2,), {"device": "cpu"})
    graph.output(graph.call_function(torch.add, (x, zeros)))
    assert analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=(torch.ones(2),)).exact


@pytest.mark.parametrize(
    "inputs", [(), (torch.ones(3, 5),), ("text",)], ids=["missing", "of a wrong shape", "of a wrong type"]
)
def test_what_does_not_run_is_answered_statically(inputs: tuple[object, ...]) -> None:
    graph_module, effects = _observed(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), *inputs)
    assert not effects.exact
    assert effects.writes[_node(graph_module, "_1")]


def test_values_that_may_hide_tensors_are_answered_statically() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(iter, ([x],)))
    assert not analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=(torch.ones(2),)).exact


def test_what_changes_a_container_is_answered_statically() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    held = graph.call_function(list, ((x,),))
    append = graph.call_method("append", (held, x))
    graph.output(graph.call_function(operator.getitem, (held, 1)))
    effects = analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=[torch.zeros(2)])
    assert not effects.exact
    assert held in effects.written_operands(append)


@pytest.mark.parametrize("before", [True, False], ids=["before the call", "after it"])
def test_hooks_never_see_a_tensor_without_data(before: bool) -> None:
    seen: list[object] = []
    linear = nn.Linear(2, 2)
    if before:
        linear.register_forward_pre_hook(lambda _module, args: seen.extend(args))
    else:
        linear.register_forward_hook(lambda _module, _args, output: seen.append(output))
    assert not analyze_effects(_with_leaves(linear), example_inputs=(torch.ones(2),)).exact
    assert not seen


def test_random_draws_are_seen_only_where_they_happen() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    assert _observed(model.train(), torch.ones(2))[1].random
    assert not _observed(model.eval(), torch.ones(2))[1].random


def test_functional_forms_are_seen_through() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(x, 0.0, inplace=True) + 1

    graph_module, effects = _observed(Model(), torch.ones(2))
    assert effects.may_share_memory(_node(graph_module, "x"), _node(graph_module, "dropout"))


def _with_input(target: Callable[..., Any], make: Callable[..., Any], **kwargs: Any) -> fx.GraphModule:
    """A graph that calls `target` with a tensor of two elements that it makes itself, and with its input."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(target, (graph.call_function(make, (2,), kwargs), x)))
    return fx.GraphModule(nn.Module(), graph)


def test_what_was_observed_to_be_apart_is_not_joined() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(operator.iadd, (graph.placeholder("a"), graph.placeholder("b"))))
    graph_module = fx.GraphModule(nn.Module(), graph)
    assert analyze_effects(graph_module).joined
    assert not analyze_effects(graph_module, example_inputs=(torch.ones(2), torch.ones(2))).joined


def test_an_input_may_be_a_number() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor, columns: int) -> Tensor:
            return x.view(-1, columns)

    assert _observed(Model(), torch.ones(4), 2)[1].exact


def test_a_leaf_may_read_a_plain_tensor_that_it_has() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = torch.ones(2)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.by

    assert analyze_effects(_with_leaves(Shifts()), example_inputs=(torch.ones(2),)).exact


def test_a_tensor_that_the_graph_makes_may_be_written() -> None:
    graph_module = _with_input(operator.iadd, torch.zeros)
    effects = analyze_effects(graph_module, example_inputs=(torch.ones(2),))
    assert effects.exact
    assert effects.written_operands(_node(graph_module, "iadd")) == (_node(graph_module, "zeros"),)


def test_a_graph_that_autograd_would_refuse_is_run_without_it() -> None:
    graph_module = _with_input(operator.iadd, torch.zeros, requires_grad=True)
    assert analyze_effects(graph_module, example_inputs=(torch.ones(2),)).exact


def test_what_draws_on_a_device_that_it_names_leaves_the_generator_as_it_was() -> None:
    graph_module = _with_input(torch.add, torch.rand, device="cpu")
    generator = torch.get_rng_state()
    assert analyze_effects(graph_module, example_inputs=(torch.ones(2),)).random
    assert torch.equal(torch.get_rng_state(), generator)


def test_what_warns_is_run_and_warns_nobody_while_later_warnings_are_seen() -> None:
    class Warns(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("seen by nobody", stacklevel=1)
            return x + 1

    assert analyze_effects(_with_leaves(Warns()), example_inputs=(torch.ones(2),)).exact
    with pytest.raises(UserWarning, match="later"):  # a warning is an error here
        warnings.warn("later", stacklevel=1)


class _Adds(nn.Module):
    def __init__(self, by: Tensor) -> None:
        super().__init__()
        if isinstance(by, nn.Parameter):
            self.by = by
        else:
            self.register_buffer("by", by)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


@pytest.mark.parametrize("shared", [nn.Parameter(torch.ones(2)), torch.ones(2)], ids=["parameter", "buffer"])
def test_a_write_through_one_name_of_a_shared_tensor_is_read_under_each(shared: Tensor) -> None:
    graph = fx.Graph()
    x, by = graph.placeholder("x"), graph.get_attr("0.by")
    written = graph.call_method("mul_", (by, 2))
    first = graph.call_module("0", (x,))
    second = graph.call_module("1", (first,))
    graph.output(second)
    graph_module = fx.GraphModule(nn.Sequential(_Adds(shared), _Adds(shared)), graph)
    effects = analyze_effects(graph_module, example_inputs=(torch.ones(2),))
    assert effects.exact
    assert effects.writes[written] == effects.storages[by]
    assert {effects.state_reads.get(node) for node in (first, second)} == {effects.storages[by]}


def test_a_plain_tensor_that_the_graph_reads_is_state_and_stays_as_it_is() -> None:
    root = nn.Module()
    root.register_buffer("plain", torch.zeros(2))
    graph = fx.Graph()
    plain = graph.get_attr("plain")
    written = graph.call_method("add_", (plain, graph.placeholder("x")))
    graph.output(written)
    graph_module = fx.GraphModule(root, graph)
    del graph_module.plain
    graph_module.plain = root.plain  # a graph module makes a buffer of each tensor that it is made with
    effects = analyze_effects(graph_module, example_inputs=(torch.ones(2),))
    assert effects.exact
    assert effects.writes[written] == effects.storages[plain] == effects.state
    assert root.plain.tolist() == [0, 0]


def test_only_the_arguments_are_inputs() -> None:
    graph_module, effects = _observed(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(2))
    x = next(iter(graph_module.graph.nodes))
    assert effects.exact
    assert effects.inputs == effects.storages[x]


def test_writing_an_item_stands_for_what_is_written_into() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    written = graph.call_function(operator.setitem, (x, 0, y))
    graph.output(x)
    effects = analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=(torch.ones(2), torch.ones(())))
    assert effects.exact
    assert effects.may_share_memory(written, x)
    assert not effects.may_share_memory(written, y)


def test_an_item_of_a_list_that_no_node_holds_may_be_written() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(operator.setitem, ([x], 0, x))
    graph.output(x)
    assert analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=(torch.ones(2),)).exact


def test_a_run_tells_of_the_same_nodes_as_the_static_answer() -> None:
    graph_module, effects = _observed(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(2))
    static = analyze_effects(graph_module)
    assert effects.exact
    assert effects.kinds.keys() == static.kinds.keys()
    assert effects.storages.keys() == static.storages.keys()


def test_a_change_of_shape_counts_where_it_reaches_what_others_hold() -> None:
    class TurnsItsOwn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1).t_()

    graph = fx.Graph()
    x = graph.placeholder("x")
    own = graph.call_module("0", (x,))
    turned = graph.call_method("t_", (x,))
    graph.output((own, turned))
    graph_module = fx.GraphModule(nn.Sequential(TurnsItsOwn()), graph)
    effects = analyze_effects(graph_module, example_inputs=(torch.ones(2, 3),))
    assert effects.exact
    assert effects.reshapes == {turned}


def test_only_state_that_is_written_is_told_to_be_read() -> None:
    graph = fx.Graph()
    written = graph.call_method("mul_", (graph.placeholder("x"), 2))
    graph.output(graph.call_module("0", (written,)))
    graph_module = fx.GraphModule(nn.Sequential(_Adds(torch.ones(2))), graph)
    effects = analyze_effects(graph_module, example_inputs=(torch.ones(2),))
    assert effects.exact
    assert effects.writes
    assert effects.state_reads == {}


def test_what_replaces_an_item_of_a_list_is_answered_statically() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    held = graph.call_function(list, ((x,),))
    graph.call_function(operator.setitem, (held, 0, y))
    graph.output(graph.call_function(operator.getitem, (held, 0)))
    inputs = (torch.ones(2), torch.ones(2))
    assert not analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=inputs).exact


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda x: (tuple, ([x, x],)), "tensors"),
        (lambda x: (tuple, ([x, 3],)), "any"),
        (lambda x: (tuple, ([(x,)],)), "any"),
        (lambda x: (tuple, ([3],)), "none"),
        (lambda x: (dict, ([("first", x)],)), "any"),
        (lambda x: (dict, ([(x, x)],)), "any"),
    ],
    ids=["of tensors", "with a number", "of a tuple", "of a number", "dict", "dict by tensors"],
)
def test_a_sequence_of_tensors_has_nothing_else_in_it(make: Callable[[fx.Node], Any], kind: str) -> None:
    graph = fx.Graph()
    made = graph.call_function(*make(graph.placeholder("x")))
    graph.output(made)
    effects = analyze_effects(fx.GraphModule(nn.Module(), graph), example_inputs=(torch.ones(2),))
    assert effects.exact
    assert effects.kinds[made] == kind
