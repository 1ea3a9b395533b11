"""What a graph's nodes write, and what may share memory with what, form by form."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects import Effects, analyze_effects
from fxpasses.graph.liveness import live_nodes
from fxpasses.passes.protect_outputs import protect_outputs


def _traced(function: Callable[..., Any] | nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(function)


def _node(graph_module: fx.GraphModule, name: str) -> fx.Node:
    return next(node for node in graph_module.graph.nodes if node.name == name)


def _aten_add(y: Tensor) -> Tensor:
    return torch.ops.aten.add_.Tensor(y, 1)


def _fill_view(y: Tensor) -> Tensor:
    return y.view(-1).fill_(-0.5)


def _recorded(target: Callable[..., Any], proxy: Any, *args: object) -> Any:
    """Records a call that a plain proxy would turn into another one, or refuse."""
    return proxy.tracer.create_proxy("call_function", target, (proxy, *args), {})


class _WithModule(nn.Module):
    def __init__(self, module: nn.Module, use: bool = True) -> None:
        super().__init__()
        self.module = module
        self.use = use

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x - 0.5
        result = self.module(y)
        return y, (result if self.use else y) * 2


_IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "method": lambda y: y.add_(1),
    "torch function": torch.relu_,
    "functional with inplace": lambda y: functional.relu(y, inplace=True),
    "functional with inplace by position": lambda y: functional.relu(y, True),
    "functional by name": functional.relu_,
    "out": lambda y: torch.add(y, 1, out=y),
    "copy_": lambda y: y.copy_(torch.ones_like(y)),
    "through a view": lambda y: y.view(-1).mul_(3),
    "fill through a view": _fill_view,
    "init": lambda y: nn.init.zeros_(y),
    "clamp_": lambda y: torch.clamp_(y, 0.1, 0.2),
    "scatter_": lambda y: y.scatter_(1, torch.zeros(2, 1, dtype=torch.long), 7.0),
    "hardtanh": lambda y: functional.hardtanh(y, -0.1, 0.1, inplace=True),
    "dropout": lambda y: functional.dropout(y, 0.5, training=True, inplace=True),
    "operator of a schema": _aten_add,
    "item": lambda y: _recorded(operator.setitem, y, (slice(None), 0), 3.0),
    "item through a view": lambda y: _recorded(operator.setitem, y.t(), 0, 3.0),
    "through half of it": lambda y: y[:, :1].mul_(3),
    "through a chunk": lambda y: y.chunk(2, 1)[1].mul_(3),
    "through data": lambda y: y.data.add_(1),
    "through detach": lambda y: y.detach().add_(1),
    "augmented assignment": lambda y: _recorded(operator.iadd, y, 1),
    "foreach": lambda y: torch._foreach_add_([y], 1),
}


@pytest.mark.parametrize("form", _IN_PLACE)
class TestEachFormOfWritingInPlace:
    def _graph_module(self, form: str) -> fx.GraphModule:
        write = _IN_PLACE[form]

        def model(x: Tensor) -> tuple[Tensor, Tensor]:
            y = x - 0.5
            write(y)
            return y, y * 2

        return _traced(model)

    def test_is_seen_and_kept_for_whoever_reads_later(self, form: str) -> None:
        graph_module = self._graph_module(form)
        effects = analyze_effects(graph_module)
        sub, mul = _node(graph_module, "sub"), _node(graph_module, "mul")
        live = live_nodes(graph_module.graph, [mul], effects)
        assert any(effects.may_write(node, sub) for node in live), live

    def test_is_removed_where_only_the_value_before_it_is_wanted(self, form: str) -> None:
        graph_module = self._graph_module(form)
        sub = _node(graph_module, "sub")
        live = live_nodes(graph_module.graph, [sub], analyze_effects(graph_module))
        assert live == {sub, *graph_module.graph.find_nodes(op="placeholder")}

    def test_does_not_change_what_was_returned_before_it(self, form: str) -> None:
        graph_module = self._graph_module(form)
        effects = analyze_effects(graph_module)
        assert protect_outputs(graph_module, effects) == 1
        _assert_values_at_birth(graph_module, torch.randn(2, 2))

    def test_is_found_by_an_exact_run_too(self, form: str) -> None:
        graph_module = self._graph_module(form)
        exact = analyze_effects(graph_module, example_inputs=(torch.randn(2, 2),))
        assert exact.exact
        assert any(exact.may_write(node, _node(graph_module, "sub")) for node in exact.writes)


def _assert_values_at_birth(graph_module: fx.GraphModule, *inputs: Tensor) -> None:
    """Compares what a graph returns with its values cloned when they are made, its copies being clones themselves."""
    graph_module.graph.lint()
    graph_module.recompile()
    oracle = ValuesAtBirth(graph_module)
    torch.manual_seed(3)
    oracle.run(*(each.clone() for each in inputs))
    returned = graph_module.graph.output_node().args[0]
    torch.manual_seed(3)
    actual = graph_module(*(each.clone() for each in inputs))
    assert_bit_equal(actual, fx.map_arg(returned, lambda node: oracle.values[node.name]))


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(inplace=True), nn.Hardtanh(inplace=True), nn.Dropout(0.5, inplace=True), nn.SiLU(inplace=True)],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize("use", [True, False], ids=["result used", "result not used"])
def test_an_in_place_module_writes_its_input(module: nn.Module, use: bool) -> None:
    graph_module = _traced(_WithModule(module.train(), use))
    effects = analyze_effects(graph_module)
    assert effects.written_operands(_node(graph_module, "module")) == (_node(graph_module, "sub"),)
    assert protect_outputs(graph_module, effects) == 1
    _assert_values_at_birth(graph_module, torch.randn(2, 3))


@pytest.mark.parametrize(("training", "writes"), [(True, True), (False, False), (None, True)])
def test_dropout_writes_in_training_only(training: bool | None, writes: bool) -> None:
    graph_module = _traced(_WithModule(nn.Dropout(0.5, inplace=True)))
    effects = analyze_effects(graph_module, training=training)
    assert bool(effects.writes) is writes
    assert effects.may_share_memory(_node(graph_module, "module"), _node(graph_module, "sub"))


_VIEWS: dict[str, Callable[[Tensor], Any]] = {
    "view": lambda y: y.view(-1),
    "reshape": lambda y: y.reshape(-1),
    "transpose": lambda y: y.transpose(0, 1),
    "permute": lambda y: torch.permute(y, (1, 0)),
    "flatten": lambda y: torch.flatten(y),
    "squeeze": lambda y: y.squeeze(),
    "expand": lambda y: y.expand(3, 2, 2),
    "index": lambda y: y[0],
    "slice": lambda y: y[:, 1:],
    "contiguous": lambda y: y.contiguous(),
    "to": lambda y: y.to(torch.float32),
    "float": lambda y: y.float(),
    "type": lambda y: y.type(torch.float32),
    "type_as": lambda y: y.type_as(y),
    "detach": lambda y: y.detach(),
    "chunk": lambda y: y.chunk(2)[0],
    "split": lambda y: torch.split(y, 1)[0],
    "unbind": lambda y: y.unbind(0)[1],
    "T": lambda y: y.T,
    "real": lambda y: y.real,
    "data": lambda y: y.data,
    "narrow": lambda y: y.narrow(0, 0, 1),
    "einsum": lambda y: torch.einsum("ij->ji", y),
    "dropout in evaluation": lambda y: functional.dropout(y, 0.5, training=False),
    "atleast_3d": lambda y: torch.atleast_3d(y),
    "broadcast_tensors": lambda y: torch.broadcast_tensors(y, y)[0],
    "requires_grad_": lambda y: y.requires_grad_(False),
    "max of objects": lambda y: max([y]) if isinstance(y, Tensor) else y[:],
    "identity": nn.Identity(),
    "flatten module": nn.Flatten(0),
}


@pytest.mark.parametrize("form", _VIEWS)
def test_a_view_shares_memory_with_what_it_is_a_view_of(form: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.view = _VIEWS[form]

        def forward(self, x: Tensor) -> Tensor:
            return self.view(x - 0.5)

    graph_module = _traced(Model())
    effects = analyze_effects(graph_module)
    result = graph_module.graph.output_node().all_input_nodes[0]
    assert effects.may_share_memory(_node(graph_module, "sub"), result)


_FRESH: dict[str, Callable[[Tensor], Any]] = {
    "arithmetic": lambda y: y * 2 + y,
    "relu": torch.relu,
    "functional": functional.gelu,
    "clone": lambda y: y.clone(),
    "cat": lambda y: torch.cat([y, y]),
    "stack": lambda y: torch.stack([y]),
    "softmax": lambda y: y.softmax(-1),
    "pad": lambda y: functional.pad(y, (0, 0)),
    "sum": lambda y: y.sum(),
    "matmul": lambda y: y @ y,
    "comparison": lambda y: y > 0,
    "where": lambda y: torch.where(y > 0, y, y),
    "zeros_like": torch.zeros_like,
    "new_zeros": lambda y: y.new_zeros(3),
    "to with a copy": lambda y: y.to(torch.float32, copy=True),
    "python sum": lambda y: sum([y, y]),
    "layer norm": lambda y: functional.layer_norm(y, (2,)),
    "batch norm": lambda y: functional.batch_norm(y, torch.zeros(2), torch.ones(2)),
    "interpolation": lambda y: functional.interpolate(y[None, None], scale_factor=2),
    "dropout without in-place": lambda y: functional.gelu(functional.dropout(y, 0.5, training=True)),
    "attention": lambda y: functional.scaled_dot_product_attention(y, y, y),
}


@pytest.mark.parametrize("form", _FRESH)
def test_a_fresh_result_shares_memory_with_nothing(form: str) -> None:
    graph_module = _traced(lambda x: _FRESH[form](x - 0.5))
    effects = analyze_effects(graph_module)
    result = graph_module.graph.output_node().all_input_nodes[0]
    assert not effects.may_share_memory(_node(graph_module, "sub"), result)
    assert not effects.writes


def _add_to_input(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
    args[0].add_(1)


class TestState:
    def test_a_buffer_is_one_storage_under_all_its_names(self) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("one", torch.zeros(2))
                self.register_buffer("other", self.one.view(1, 2))

        graph = fx.Graph()
        one, other = graph.get_attr("one"), graph.get_attr("other")
        written = graph.call_method("add_", (one, 1))
        graph.output((other, written))
        effects = analyze_effects(fx.GraphModule(Model(), graph))
        assert effects.may_write(written, other)
        assert effects.writes[written] <= effects.state

    def test_running_statistics_are_written_in_training_only(self) -> None:
        graph_module = _traced(nn.Sequential(nn.BatchNorm1d(2)))
        norm = _node(graph_module, "_0")
        assert analyze_effects(graph_module, training=True).writes[norm]
        assert norm in analyze_effects(graph_module, training=True).state_reads
        assert not analyze_effects(graph_module, training=False).writes

    def test_functional_batch_norm_writes_its_statistics(self) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.zeros(2))
                self.register_buffer("var", torch.ones(2))

            def forward(self, x: Tensor) -> Tensor:
                return functional.batch_norm(x, self.mean, self.var, training=True)

        graph_module = _traced(Model())
        effects = analyze_effects(graph_module)
        assert set(effects.written_operands(_node(graph_module, "batch_norm"))) == {
            _node(graph_module, "mean"),
            _node(graph_module, "var"),
        }

    def test_an_embedding_with_a_largest_norm_writes_its_weight(self) -> None:
        graph_module = _traced(nn.Sequential(nn.Embedding(4, 2, max_norm=1.0)))
        assert analyze_effects(graph_module).writes[_node(graph_module, "_0")]
        assert not analyze_effects(_traced(nn.Sequential(nn.Embedding(4, 2)))).writes

    def test_a_module_reads_its_parameter_that_another_node_writes(self) -> None:
        graph = fx.Graph()
        x, weight = graph.placeholder("x"), graph.get_attr("0.weight")
        written = graph.call_method("mul_", (weight, 2))
        linear = graph.call_module("0", (x,))
        graph.output(linear)
        model = nn.Sequential(nn.Linear(2, 2, bias=False))
        effects = analyze_effects(fx.GraphModule(model, graph))
        assert effects.state_reads == {linear: effects.writes[written]}

    def test_a_list_that_a_module_keeps_is_state(self) -> None:
        root = nn.Module()
        root.parts = [torch.zeros(2)]
        graph = fx.Graph()
        part = graph.call_function(operator.getitem, (graph.get_attr("parts"), 0))
        written = graph.call_method("add_", (part, 1))
        graph.output(part)
        effects = analyze_effects(fx.GraphModule(root, graph))
        assert effects.writes[written]
        assert effects.writes[written] <= effects.state

    def test_a_module_that_is_passed_on_may_be_written_wherever_it_goes(self) -> None:
        graph = fx.Graph()
        x, norm = graph.placeholder("x"), graph.get_attr("0")
        called = graph.call_method("__call__", (norm, x))
        mean = graph.get_attr("0.running_mean")
        graph.output((called, mean))
        effects = analyze_effects(fx.GraphModule(nn.Sequential(nn.BatchNorm1d(2)), graph))
        assert effects.may_write(called, mean)
        assert effects.storages[mean] <= effects.state

    @pytest.mark.parametrize("before", [True, False], ids=["before the call", "after it"])
    def test_a_hook_may_write_what_a_module_of_torch_only_reads(self, before: bool) -> None:
        linear = nn.Linear(2, 2)
        graph_module = _traced(_WithModule(linear))
        module, sub = _node(graph_module, "module"), _node(graph_module, "sub")
        assert not analyze_effects(graph_module).may_write(module, sub)
        called = graph_module.get_submodule("module")
        handle = (
            called.register_forward_pre_hook(_add_to_input)
            if before
            else called.register_forward_hook(lambda module, args, _output: _add_to_input(module, args))
        )
        assert analyze_effects(graph_module).may_write(module, sub)
        handle.remove()

    def test_a_layer_with_a_forward_of_its_own_may_write_anything(self) -> None:
        graph_module = _traced(_WithModule(nn.Linear(2, 2)))
        graph_module.get_submodule("module").forward = lambda x: x.add_(1)  # pyright: ignore[reportAttributeAccessIssue]
        module, sub = _node(graph_module, "module"), _node(graph_module, "sub")
        assert analyze_effects(graph_module).may_write(module, sub)

    def test_what_writes_several_tensors_may_return_them(self) -> None:
        graph = fx.Graph()
        x = graph.placeholder("x")
        written = graph.call_function(torch._foreach_add_, ([x], 1))
        item = graph.call_function(operator.getitem, (written, 0))
        doubled = graph.call_method("mul_", (item, 2))
        graph.output(x)
        assert analyze_effects(fx.GraphModule(nn.Module(), graph)).may_write(doubled, x)

    def test_an_argument_that_is_written_is_an_input(self) -> None:
        graph_module = _traced(lambda x: x.add_(1))
        effects = analyze_effects(graph_module)
        assert effects.writes[_node(graph_module, "add_")] == effects.inputs


class TestContainers:
    def test_adding_lists_keeps_their_items(self) -> None:
        graph = fx.Graph()
        x = graph.placeholder("x")
        joined = graph.call_function(operator.add, ([x], [x]))
        item = graph.call_function(operator.getitem, (joined, 1))
        written = graph.call_method("mul_", (item, 2))
        graph.output(x)
        assert analyze_effects(fx.GraphModule(nn.Module(), graph)).may_write(written, x)

    def test_what_is_stored_in_a_dict_is_found_in_it(self) -> None:
        graph = fx.Graph()
        values, x = graph.placeholder("values"), graph.placeholder("x")
        graph.call_function(operator.setitem, (values, "x", x))
        item = graph.call_function(operator.getitem, (values, "x"))
        graph.output((x, graph.call_method("mul_", (item, 2))))
        graph_module = fx.GraphModule(nn.Module(), graph)
        assert analyze_effects(graph_module).may_write(_node(graph_module, "mul_"), x)

    def test_what_is_copied_into_a_tensor_is_not_shared_with_it(self) -> None:
        def model(x: Tensor, y: Tensor) -> Tensor:
            _recorded(operator.setitem, x, (slice(None), 0), y)
            return x.mul_(2)

        graph_module = _traced(model)
        effects = analyze_effects(graph_module)
        assert not effects.may_write(_node(graph_module, "mul_"), _node(graph_module, "y"))

    def test_what_is_copied_into_the_result_of_arithmetic_is_not_shared_with_it(self) -> None:
        graph = fx.Graph()
        a, b, index, value = (graph.placeholder(name) for name in ("a", "b", "index", "value"))
        difference = graph.call_function(operator.sub, (a, b))
        graph.call_function(operator.setitem, (difference, index, value))
        written = graph.call_function(operator.imul, (difference, 2))
        graph.output((value, written))
        effects = analyze_effects(fx.GraphModule(nn.Module(), graph))
        assert effects.kinds[difference] == "numeric"
        assert not effects.may_write(written, value)

    def test_what_is_added_to_a_number_is_not_stored_in_it(self) -> None:
        graph = fx.Graph()
        a, b = graph.placeholder("a"), graph.placeholder("b")
        graph.call_function(operator.iadd, (graph.call_method("size", (a, 0)), graph.call_function(max, (a, b))))
        graph.output((a, b))
        assert not analyze_effects(fx.GraphModule(nn.Module(), graph)).may_share_memory(a, b)

    def test_a_number_that_is_increased_is_no_memory_that_is_written(self) -> None:
        graph = fx.Graph()
        size = graph.call_method("size", (graph.placeholder("x"), 0))
        graph.output(graph.call_function(operator.iadd, (size, 1)))
        effects = analyze_effects(fx.GraphModule(nn.Module(), graph))
        assert not effects.writes
        assert not effects.may_share_memory(size, size)

    def test_kinds(self) -> None:
        def model(x: Tensor) -> object:
            parts = torch.chunk(x, 2)
            return x.shape, parts, parts[0], torch.max(x, 0), x.size(0) + 1, x.size(1) - 1, x - 1

        graph_module = _traced(model)
        kinds = {node.name: kind for node, kind in analyze_effects(graph_module).kinds.items()}
        assert kinds == {
            "x": "tensor",
            "chunk": "tensors",
            "getattr_1": "none",
            "getitem": "tensor",
            "max_1": "any",
            "size": "none",
            "add": "none",
            "size_1": "none",
            "sub": "none",
            "sub_1": "tensor",
        }


class TestRoles:
    def _effects(self, function: Callable[..., Any]) -> tuple[fx.GraphModule, Effects]:
        graph_module = _traced(function)
        return graph_module, analyze_effects(graph_module)

    def test_an_assertion_only_checks(self) -> None:
        def model(x: Tensor) -> Tensor:
            torch._assert(x.shape[0] == 2, "two")
            return x

        graph_module, effects = self._effects(model)
        assert effects.checks == {_node(graph_module, "_assert")}
        assert effects.shape_readers == {_node(graph_module, "getattr_1")}

    @pytest.mark.parametrize("draw", [torch.rand_like, functional.dropout, lambda x: x.bernoulli_(), nn.Dropout()])
    def test_random_draws_are_known(self, draw: Callable[[Tensor], Tensor]) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.draw = draw

            def forward(self, x: Tensor) -> Tensor:
                return self.draw(x) + torch.relu(x)

        _, effects = self._effects(Model())
        assert len(effects.random) == 1

    def test_switching_autograd_is_ambient(self) -> None:
        graph = fx.Graph()
        graph.placeholder("x")
        off = graph.call_function(torch._C._set_grad_enabled, (False,))
        graph.output(None)
        assert analyze_effects(fx.GraphModule(nn.Module(), graph)).ambient == {off}

    def test_changing_the_shape_in_place_is_told_apart(self) -> None:
        graph_module, effects = self._effects(lambda x: (x + 1).unsqueeze_(0).add_(1))
        assert effects.reshapes == {_node(graph_module, "unsqueeze_")}


class _Counts(nn.Module):
    """Keeps a number, and no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


def test_a_module_without_tensors_reads_what_its_earlier_call_wrote() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    calls = [graph.call_module("counts", (x,)) for _ in range(2)]
    graph.output(calls[1])
    graph_module = fx.GraphModule({"counts": _Counts()}, graph)
    effects = analyze_effects(graph_module)
    assert set(effects.state_reads) == set(calls)
    assert calls[0] in live_nodes(graph, [calls[1]], effects)


def _put(holder: list[Tensor], item: Tensor) -> None:
    holder.append(item)


def test_what_is_put_into_a_list_that_is_passed_by_keyword_shares_its_memory() -> None:
    graph = fx.Graph()
    holder, x = graph.placeholder("holder"), graph.placeholder("x")
    y = graph.call_function(torch.neg, (x,))
    graph.call_function(_put, (), {"holder": holder, "item": y})
    graph.output((holder, y))
    effects = analyze_effects(fx.GraphModule(nn.Module(), graph))
    assert effects.may_share_memory(holder, y)
    assert not effects.may_share_memory(holder, x)


def test_an_attribute_that_a_graph_reads_is_a_tensor_only_if_it_is_one_now() -> None:
    graph = fx.Graph()
    graph.output([graph.get_attr(name) for name in ("weight", "parts", "block")])
    root = nn.Module()
    root.block = nn.ReLU()
    root.weight, root.parts = nn.Parameter(torch.ones(2)), [torch.ones(2)]
    graph_module = fx.GraphModule(root, graph)
    assert {node.name: kind for node, kind in analyze_effects(graph_module).kinds.items()} == {
        "weight": "tensor",
        "parts": "any",
        "block": "any",
    }
