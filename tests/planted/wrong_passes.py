"""Passes that are wrong on purpose, each with the law that it breaks.

Each is what a person might write: most keep the meaning of most models.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxpasses import testing as fxt


class Wrong(NamedTuple):
    """A wrong pass, and the law that must find it."""

    pass_: Callable[[fx.GraphModule], Any]
    law: fxt.Law


PLANTED: dict[str, Wrong] = {}


def breaks(law: fxt.Law) -> Callable[[Any], Any]:
    def register(pass_: Any) -> Any:
        PLANTED[pass_.__name__] = Wrong(pass_, law)
        return pass_

    return register


def _calls(graph_module: fx.GraphModule, *names: str) -> list[fx.Node]:
    """The calls of functions or methods of these names."""
    nodes = [node for node in graph_module.graph.nodes if node.op in ("call_function", "call_method")]
    return [node for node in nodes if (getattr(node.target, "__name__", None) or str(node.target)) in names]


def _modules(graph_module: fx.GraphModule, kind: Any) -> list[fx.Node]:
    nodes = [node for node in graph_module.graph.nodes if node.op == "call_module"]
    return [node for node in nodes if isinstance(graph_module.get_submodule(str(node.target)), kind)]


def _remove(node: fx.Node, replacement: Any = None) -> None:
    if replacement is not None:
        node.replace_all_uses_with(replacement)
    node.graph.erase_node(node)


# What is computed


@breaks(fxt.Equivalent())
def drop_unused_writes(graph_module: fx.GraphModule) -> None:
    """Dead code elimination that takes an in-place operation for a pure one."""
    for node in reversed(list(graph_module.graph.nodes)):
        if node.op.startswith("call") and not node.users:
            graph_module.graph.erase_node(node)


@breaks(fxt.Equivalent())
def swap_arguments_of_sub(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "sub"):
        if node.op == "call_function" and len(node.args) == 2:
            node.args = node.args[::-1]


@breaks(fxt.Equivalent())
def change_a_constant(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "mul"):
        if len(node.args) == 2 and node.args[1] == 2:
            node.args = (node.args[0], 3)


@breaks(fxt.Equivalent())
def drop_alpha(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "add", "sub", "add_"):
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "alpha"}


@breaks(fxt.Equivalent())
def return_one_value_twice(graph_module: fx.GraphModule) -> None:
    """The right form, and the first value in the place of the last."""
    output = graph_module.graph.output_node()
    values = output.all_input_nodes
    if len(values) > 1:
        output.replace_input_with(values[-1], values[0])


@breaks(fxt.Equivalent())
def take_the_first_element(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "getitem"):
        if node.args[1] == 1:
            node.args = (node.args[0], 0)


@breaks(fxt.Equivalent())
def reorder_random_operations(graph_module: fx.GraphModule) -> None:
    found = _calls(graph_module, "rand_like", "randn_like", "bernoulli")
    for first, second in itertools.pairwise(found):
        if all(each in _before(first) for each in second.all_input_nodes):
            first.prepend(second)
            return


def _before(node: fx.Node) -> set[fx.Node]:
    nodes = list(node.graph.nodes)
    return set(nodes[: nodes.index(node)])


@breaks(fxt.Equivalent())
def merge_equal_random_operations(graph_module: fx.GraphModule) -> None:
    _merge(_calls(graph_module, "rand_like", "randn_like", "dropout"))


@breaks(fxt.Equivalent())
def merge_equal_reads_across_writes(graph_module: fx.GraphModule) -> None:
    """Common subexpression elimination that does not know that a value may be overwritten."""
    _merge(_calls(graph_module, "relu", "neg", "add", "mul", "sin", "floor", "gt"))


@breaks(fxt.Equivalent())
def merge_calls_of_stateful_modules(graph_module: fx.GraphModule) -> None:
    _merge(_modules(graph_module, (nn.modules.batchnorm._BatchNorm, nn.Dropout, nn.AlphaDropout)))


def _merge(nodes: list[fx.Node]) -> None:
    seen: dict[Any, fx.Node] = {}
    for node in nodes:
        key = (node.op, str(node.target), str(node.args), str(node.kwargs))
        if key in seen:
            _remove(node, seen[key])
        else:
            seen[key] = node


@breaks(fxt.Equivalent())
def forget_dead_random_operations(graph_module: fx.GraphModule) -> None:
    """Nothing uses the number, and the next one that is drawn is another one now."""
    for node in _calls(graph_module, "rand_like", "randn_like", "bernoulli"):
        if not node.users:
            _remove(node)


@breaks(fxt.Equivalent())
def functionalize_without_rewiring(graph_module: fx.GraphModule) -> None:
    """Makes `x.add_(1)` an `x.add(1)`, and leaves later uses of `x` as they are."""
    for node in _calls(graph_module, "relu_", "neg_", "add_", "mul_", "sub_", "sin_", "sigmoid_", "tanh_"):
        if node.op == "call_method":
            node.target = str(node.target).rstrip("_")


@breaks(fxt.Equivalent())
def write_in_place(graph_module: fx.GraphModule) -> None:
    """Saves memory by writing into an argument that somebody else still reads."""
    for node in _calls(graph_module, "relu", "sigmoid", "neg", "abs", "sin", "cos", "floor", "square", "sqrt", "tanh"):
        if node.op == "call_method" and node.args[0].op == "call_function":
            node.target = f"{node.target}_"


@breaks(fxt.Equivalent())
def remove_copies(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "clone"):
        _remove(node, node.all_input_nodes[0])


@breaks(fxt.Equivalent())
def remove_dropout(graph_module: fx.GraphModule) -> None:
    """Right in eval mode only."""
    for node in _modules(graph_module, nn.Dropout):
        _remove(node, node.args[0])


@breaks(fxt.Equivalent())
def merge_modules_of_one_kind(graph_module: fx.GraphModule) -> None:
    """Takes two layers of the same shape for the same layer."""
    first: dict[str, str] = {}
    for node in _modules(graph_module, nn.Linear):
        node.target = first.setdefault(repr(graph_module.get_submodule(str(node.target))), str(node.target))


@breaks(fxt.Equivalent())
def drop_casts(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "to", "float"):
        _remove(node, node.args[0])


@breaks(fxt.Equivalent())
def bake_buffers(graph_module: fx.GraphModule) -> None:
    """Takes a buffer for a constant, though the model writes it."""
    for node in [node for node in graph_module.graph.nodes if node.op == "get_attr"]:
        tensor = operator.attrgetter(str(node.target))(graph_module) if node.target.isidentifier() else None
        if isinstance(tensor, torch.Tensor) and not isinstance(tensor, nn.Parameter):
            graph_module.register_buffer(f"baked_{node.name}", tensor.clone())
            node.target = f"baked_{node.name}"


@breaks(fxt.Equivalent())
def move_writes_up(graph_module: fx.GraphModule) -> None:
    """Schedules each operation as early as its arguments allow, an in-place one too."""
    nodes = list(graph_module.graph.nodes)
    for node in nodes:
        if node.op.startswith("call") and node.all_input_nodes:
            latest = max(node.all_input_nodes, key=list(graph_module.graph.nodes).index)
            if latest.op.startswith("call"):
                latest.append(node)


# What a graph is


@breaks(fxt.WellFormed())
def use_before_definition(graph_module: fx.GraphModule) -> None:
    nodes = [node for node in graph_module.graph.nodes if node.op.startswith("call") and node.users]
    if nodes:
        graph_module.graph.output_node().prepend(nodes[0])


@breaks(fxt.WellFormed())
def delete_a_module(graph_module: fx.GraphModule) -> None:
    called = [str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"]
    if called and "." not in called[0]:
        delattr(graph_module, called[0])


@breaks(fxt.WellFormed())
def keep_stale_shapes(graph_module: fx.GraphModule) -> None:
    """Changes what a node computes, and leaves what is recorded of it."""
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    for node in _calls(graph_module, "relu", "tanh", "sigmoid"):
        if node.args and node.args[0] in placeholders:
            node.args[0].meta["val"] = torch.empty(2, 3, device="meta")
            node.meta["val"] = torch.empty(7, device="meta")


@breaks(fxt.WellFormed())
def refer_to_another_graph(graph_module: fx.GraphModule) -> None:
    """Takes a node of a copy for one of its own."""
    other = copy.deepcopy(graph_module.graph)
    calls = [node for node in other.nodes if node.op.startswith("call")]
    if calls:
        graph_module.graph.output_node().args = (calls[-1],)


@breaks(fxt.WellFormed())
def misspell_a_method(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "sigmoid", "relu", "reshape", "size"):
        if node.op == "call_method":
            node.target = f"{node.target}s"


# What it must leave alone


@breaks(fxt.PreservesInput())
def change_the_input_of_a_functional_pass(graph_module: fx.GraphModule) -> fx.GraphModule:
    result = copy.deepcopy(graph_module)
    for node in graph_module.graph.nodes:
        node.meta.pop("nn_module_stack", None)
    return result


@breaks(fxt.PreservesInput())
def change_and_raise(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu"):
        node.target = "sigmoid" if node.op == "call_method" else torch.sigmoid
        raise KeyError(node.name)


@breaks(fxt.PreservesInput())
def leave_eval_mode(graph_module: fx.GraphModule) -> None:
    graph_module.eval()


@breaks(fxt.PreservesInput())
def thaw_frozen_modules(graph_module: fx.GraphModule) -> None:
    training = graph_module.training
    graph_module.eval()
    graph_module.train(training)


@breaks(fxt.PreservesInput())
def leave_a_hook(graph_module: fx.GraphModule) -> fx.GraphModule:
    result = copy.deepcopy(graph_module)
    for module in list(graph_module.children())[:1]:
        module.register_forward_hook(lambda *_: None)
    return result


@breaks(fxt.PreservesInput())
def leave_an_attribute(graph_module: fx.GraphModule) -> fx.GraphModule:
    result = copy.deepcopy(graph_module)
    graph_module.visited = True
    return result


@breaks(fxt.PreservesInput())
def normalize_weights(graph_module: fx.GraphModule) -> None:
    for module in graph_module.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(1.0001)


@breaks(fxt.PreservesMeta())
def make_nodes_anew(graph_module: fx.GraphModule) -> None:
    """Makes a node for a node, and forgets where it came from."""
    graph = graph_module.graph
    for node in _calls(graph_module, "relu", "tanh", "add", "mul", "sigmoid", "sub", "neg"):
        with graph.inserting_before(node):
            new = graph.create_node(node.op, node.target, node.args, node.kwargs)
        name = node.name
        _remove(node, new)
        new.name = name


@breaks(fxt.PreservesMeta())
def copy_meta_of_a_neighbour(graph_module: fx.GraphModule) -> None:
    calls = [node for node in graph_module.graph.nodes if node.op.startswith("call")]
    for before, node in itertools.pairwise(calls):
        if "nn_module_stack" in node.meta and "nn_module_stack" in before.meta:
            node.meta["nn_module_stack"] = before.meta["nn_module_stack"]


@breaks(fxt.PreservesSignature())
def drop_unused_inputs(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        if node.op == "placeholder" and not node.users:
            graph_module.graph.erase_node(node)


@breaks(fxt.PreservesSignature())
def forget_defaults(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            node.args = ()


@breaks(fxt.PreservesSignature())
def sort_inputs(graph_module: fx.GraphModule) -> None:
    nodes = [node for node in graph_module.graph.nodes if node.op == "placeholder" and not node.args]
    for one, other in itertools.pairwise(sorted(nodes, key=lambda node: node.name)):
        one.append(other)


@breaks(fxt.PreservesSignature())
def return_a_list(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    if isinstance(output.args[0], tuple):
        output.args = (list(output.args[0]),)


@breaks(fxt.PreservesSignature())
def lose_an_output(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    if isinstance(output.args[0], dict) and len(output.args[0]) > 1:
        output.args = (dict(list(output.args[0].items())[:-1]),)


@breaks(fxt.PreservesState())
def untie_parameters(graph_module: fx.GraphModule) -> None:
    for module in graph_module.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().clone())


@breaks(fxt.PreservesState())
def reset_running_statistics(graph_module: fx.GraphModule) -> None:
    for module in graph_module.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.add_(1)


@breaks(fxt.PreservesState(complete=True))
def drop_state(graph_module: fx.GraphModule) -> None:
    used = {str(node.target) for node in graph_module.graph.nodes}
    for name, _ in list(graph_module.named_children()):
        if name not in used:
            delattr(graph_module, name)


# What it says of itself, and what it does the next time


@breaks(fxt.HonestFlag())
def always_say_modified(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, bool]:
    return graph_module, True


@breaks(fxt.HonestFlag())
def never_say_modified(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, bool]:
    for node in _calls(graph_module, "relu"):
        if node.op == "call_function":
            node.target = torch.relu
        else:
            node.op, node.target = "call_function", torch.relu
    return graph_module, False


@breaks(fxt.HonestFlag())
def say_modified_of_the_last_node_only(graph_module: fx.GraphModule) -> tuple[fx.GraphModule, bool]:
    modified = False
    for node in _calls(graph_module, "add"):
        modified = node.op == "call_method"
        node.op, node.target = "call_function", torch.add
    return graph_module, modified


@breaks(fxt.Idempotent())
def protect_outputs_again(graph_module: fx.GraphModule) -> None:
    """Copies what is returned, also what is a copy already."""
    output = graph_module.graph.output_node()
    for node in output.all_input_nodes:
        with graph_module.graph.inserting_before(output):
            output.replace_input_with(node, graph_module.graph.call_method("clone", (node,)))


@breaks(fxt.Idempotent())
def remove_one_node_a_run(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu", "abs", "gt"):
        if not node.users:
            return _remove(node)
    return None


_counter = itertools.count()


@breaks(fxt.Deterministic())
def name_nodes_by_a_global_counter(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu", "add", "mul"):
        node.name = f"node_{next(_counter)}"


@breaks(fxt.Deterministic())
def visit_a_set_of_nodes(graph_module: fx.GraphModule) -> None:
    nodes = {node for node in graph_module.graph.nodes if node.op.startswith("call")}
    for index, node in enumerate(nodes):
        node.name = f"step_{index}"


@breaks(fxt.SurvivesCopying())
def call_a_closure(graph_module: fx.GraphModule) -> None:
    """Calls a function that no pickle can find again."""

    def relu(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)

    for node in _calls(graph_module, "relu"):
        node.op, node.target, node.kwargs = "call_function", relu, {}


class _Moody(nn.Module):
    """A module that comes back from a pickle as another one."""

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * (self.scale / 2)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Moody, (4.0,)


@breaks(fxt.SurvivesCopying())
def insert_a_module_that_forgets(graph_module: fx.GraphModule) -> None:
    for index, node in enumerate(_calls(graph_module, "relu")):
        graph_module.add_module(f"moody_{index}", _Moody())
        node.op, node.target, node.kwargs = "call_module", f"moody_{index}", {}


@breaks(fxt.Total())
def expect_positional_arguments(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "max", "min", "argmax", "softmax"):
        _ = node.args[1]


@breaks(fxt.Total())
def expect_one_output(graph_module: fx.GraphModule) -> None:
    _ = graph_module.graph.output_node().args[0].name


@breaks(fxt.Shrinks())
def inline_a_copy(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu"):
        with graph_module.graph.inserting_after(node):
            copied = graph_module.graph.node_copy(node)
        for user in list(node.users)[1:]:
            user.replace_input_with(node, copied)


def _rename_relu(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu"):
        if node.op == "call_function":
            node.target = torch.tanh


@breaks(fxt.Commutes(other=_rename_relu))
def remove_relu_before_tanh(graph_module: fx.GraphModule) -> None:
    for node in _calls(graph_module, "relu"):
        if any(user in _calls(graph_module, "tanh", "add", "mul") for user in node.users):
            _remove(node, node.all_input_nodes[0])


def name_by_a_set_of_strings(graph_module: fx.GraphModule) -> None:
    """Gives names in an order that depends on the hashes of strings: the same within a process, not between two."""
    nodes = {node.name: node for node in graph_module.graph.nodes if node.op.startswith("call")}
    for index, name in enumerate(set(nodes)):
        nodes[name].name = f"step_{index}"
