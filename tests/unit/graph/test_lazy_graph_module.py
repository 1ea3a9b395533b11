from __future__ import annotations

import copy
import gc
import inspect
import pickle

import pytest
import torch
from support import examples
from support.oracle import assert_bit_equal
from torch import fx, nn
from torch.fx import _symbolic_trace
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.utils import _pytree as pytree

from fxpasses.capture import capture_symbolic
from fxpasses.graph.lazy_graph_module import LazyGraphModule, with_own_graph
from fxpasses.graph.serialize import FlatGraph, copy_graph


def _captured() -> LazyGraphModule:
    captured = capture_symbolic(examples.Stacked())
    assert isinstance(captured, LazyGraphModule)
    return captured


def test_the_code_is_made_when_it_is_needed() -> None:
    captured = _captured()
    assert not captured.is_compiled
    captured(torch.ones(2, 3))
    assert captured.is_compiled


@pytest.mark.parametrize("use", [str, lambda module: module.code, lambda module: inspect.signature(module.forward)])
def test_whoever_asks_for_the_code_gets_it(use) -> None:
    captured = _captured()
    use(captured)
    assert captured.is_compiled


def test_the_class_holds_the_code_as_a_function() -> None:
    captured = _captured()
    forward = type(captured).forward
    assert captured.is_compiled
    assert list(inspect.signature(forward).parameters) == ["self", "x"]
    x = torch.ones(2, 3)
    assert_bit_equal(forward(captured, x), captured(x))


def test_recompiling_takes_up_a_change_of_the_graph() -> None:
    captured = _captured()
    x = torch.ones(2, 3)
    captured(x)
    output = captured.graph.output_node()
    output.args = (output.all_input_nodes[0].all_input_nodes[0],)
    captured.recompile()
    assert captured(x).shape == (3,)


def test_two_instances_do_not_share_code() -> None:
    first, second = _captured(), _captured()
    first(torch.ones(2, 3))
    assert not second.is_compiled


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_has_the_same_graph_names_and_values(copied) -> None:
    captured = _captured().eval()
    again = copied(captured)
    x = torch.randn(2, 3)
    assert_bit_equal(again(x), captured(x))
    assert str(again.graph) == str(captured.graph)
    assert [list(node.meta["nn_module_stack"]) for node in again.graph.nodes if "nn_module_stack" in node.meta] == [
        list(node.meta["nn_module_stack"]) for node in captured.graph.nodes if "nn_module_stack" in node.meta
    ]
    assert not again.training
    assert again.graph.owning_module is again


def _flattened() -> LazyGraphModule:
    """Returns a graph module of the kind whose code takes its arguments apart and puts its result together."""
    graph = fx.Graph()
    graph.output(graph.call_function(torch.relu, (graph.placeholder("x"),)))
    _, spec = pytree.tree_flatten(((torch.ones(1),), {}))
    graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(["x"], spec, pytree.tree_flatten(torch.ones(1))[1])))
    return LazyGraphModule(nn.Module(), graph)


@pytest.mark.parametrize("make", [_captured, _flattened])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_holds_nothing_that_was_generated(make, copied) -> None:
    captured = make()
    before = set(vars(captured))
    captured.compile_now()
    generated = set(vars(captured)) - before
    assert {"_code", "_lineno_map", "_prologue_start"} <= generated
    again = copied(captured)
    assert not generated & set(vars(again))
    assert again.code == captured.code


def test_a_deep_graph_is_copied_and_pickled_without_recursion() -> None:
    graph = fx.Graph()
    node = graph.placeholder("x")
    for _ in range(5000):
        node = graph.call_function(abs, (node,))
    graph.output(node)
    assert len(copy_graph(graph).nodes) == len(graph.nodes)
    assert len(pickle.loads(pickle.dumps(FlatGraph.of(graph))).graph().nodes) == len(graph.nodes)


def test_a_copys_meta_is_its_own() -> None:
    captured = _captured()
    copied = copy_graph(captured.graph)
    next(iter(copied.nodes)).meta["mine"] = 1
    assert "mine" not in next(iter(captured.graph.nodes)).meta


def test_torch_forgets_the_code_of_a_graph_module_that_is_gone() -> None:
    captured = _captured()
    node = captured.graph.output_node().all_input_nodes[0]
    with captured.graph.inserting_after(node):
        captured.graph.call_function(_wrapped, (node,)).meta["is_wrapped"] = True
    known = len(_symbolic_trace._wrapped_fns_to_patch)
    for _ in range(2):
        captured.recompile()
        assert "wrap" in captured.code
    assert len(_symbolic_trace._wrapped_fns_to_patch) == known + 2
    del captured, node
    gc.collect()
    assert len(_symbolic_trace._wrapped_fns_to_patch) == known


def _wrapped(value: torch.Tensor) -> torch.Tensor:
    return value


@pytest.mark.parametrize("copied", [lambda module: module, copy.copy, copy.deepcopy])
def test_the_code_of_a_module_whose_class_a_host_derived_is_its_own(copied) -> None:
    captured, x = _captured().eval(), torch.ones(2, 3)
    expected = captured(x)
    own_class = type(captured)
    captured.recompile()
    captured.__class__ = type("Sharded", (own_class,), {})
    other = copied(captured)
    assert_bit_equal(other(x), expected)
    assert other.is_compiled
    assert type(captured).__name__ == "Sharded"
    assert "forward" not in vars(type(captured))


_COPIES = {"shallow": copy.copy, "deep": copy.deepcopy, "pickled": lambda module: pickle.loads(pickle.dumps(module))}


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
def test_a_copy_is_printed_under_the_same_name(copied) -> None:
    graph = fx.Graph()
    graph.output(graph.placeholder("x"))
    named = LazyGraphModule(nn.Module(), graph, "Scorer")
    assert repr(copied(named)).partition("(")[0] == "Scorer"
    assert repr(copied(LazyGraphModule(nn.Module(), copy_graph(graph)))).partition("(")[0] == "GraphModule"


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
def test_a_copy_of_a_compiled_module_is_not_compiled(copied) -> None:
    captured = _captured()
    captured.compile(backend="eager")
    assert copied(captured)._compiled_call_impl is None


def test_a_deep_copy_holds_itself_where_the_original_does() -> None:
    captured = _captured()
    captured.known = [captured]
    copied = copy.deepcopy(captured)
    assert copied.known[0] is copied


def test_what_is_added_to_a_shallow_copy_is_not_added_to_the_original() -> None:
    captured = _captured()
    copied = copy.copy(captured)
    copied.add_module("more", nn.ReLU())
    copied.register_buffer("count", torch.zeros(1))
    assert "more" not in dict(captured.named_children())
    assert "count" not in captured.state_dict()


def test_a_module_with_its_own_graph_has_the_meta_of_its_own_too() -> None:
    captured = _captured()
    captured.meta["version"] = 1
    other = with_own_graph(captured)
    assert other.meta == captured.meta
    other.meta["version"] = 2
    assert captured.meta["version"] == 1


def test_the_class_that_all_share_has_no_forward() -> None:
    assert not hasattr(LazyGraphModule, "forward")
