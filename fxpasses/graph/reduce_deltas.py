"""The deltas of `minimize`: the ways in which a graph can be made smaller.

Each is a function that proposes candidates, from bold to timid, and goes on from each one that is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxpasses.graph.bits import kind_of
from fxpasses.graph.divergence import values_at_birth
from fxpasses.graph.serialize import copy_graph


class Candidate(NamedTuple):
    """A graph with inputs, one a placeholder."""

    graph_module: fx.GraphModule
    args: tuple[Any, ...]

    @property
    def operations(self) -> list[fx.Node]:
        """The nodes that compute something."""
        return [node for node in self.graph_module.graph.nodes if node.op not in ("placeholder", "output")]

    @property
    def placeholders(self) -> list[fx.Node]:
        """The inputs."""
        return [node for node in self.graph_module.graph.nodes if node.op == "placeholder"]


Current = Callable[[], Candidate]
Accept = Callable[[Candidate | None], bool]
Delta = Callable[[Current, Accept], None]


def bypass(current: Current, accept: Accept) -> None:
    """Remove operations; what used one of them uses one of its inputs instead."""
    kinds = _kinds(current())
    chunk = max(1, len(current().operations) // 2)
    while True:
        _remove_chunks(current, accept, chunk, kinds)
        if chunk == 1:
            break
        chunk = max(1, chunk // 2)
    for name in [node.name for node in current().operations]:
        _remove_in_any_way(current, accept, name)


def _remove_chunks(current: Current, accept: Accept, size: int, kinds: dict[str, str]) -> None:
    # From the end: what is behind the failure goes first, and its inputs with it.
    end = len(current().operations)
    while end > 0:
        names = {node.name for node in current().operations[max(0, end - size) : end]}
        accept(_without(current(), names, kinds))
        end = min(end - size, len(current().operations))


def _remove_in_any_way(current: Current, accept: Accept, name: str) -> None:
    node = next((node for node in current().operations if node.name == name), None)
    if node is None:
        return
    for index in range(len(node.all_input_nodes)):
        if accept(_without(current(), {name}, {}, choice=index)):
            return


def _without(
    candidate: Candidate, names: Iterable[str], kinds: dict[str, str], choice: int | None = None
) -> Candidate | None:
    """The graph without these operations, and without what only they used."""
    graph = copy_graph(candidate.graph_module.graph)
    dead = {node.name for node in graph.nodes if not node.users}
    for node in [node for node in graph.nodes if node.name in names]:
        stand_in = _stand_in(node, kinds, choice)
        if stand_in is not None:
            node.replace_all_uses_with(stand_in)
        if not node.users:
            graph.erase_node(node)
    return _finished(candidate, graph, candidate.args, keep=dead)


def _stand_in(node: fx.Node, kinds: dict[str, str], choice: int | None) -> fx.Node | None:
    inputs = node.all_input_nodes
    if choice is not None:
        return inputs[choice]
    kind = kinds.get(node.name)
    alike = [each for each in inputs if kinds.get(each.name) == kind]
    return alike[0] if alike else None


def truncate(current: Current, accept: Accept) -> None:
    """Return an earlier value, and remove all that comes after it."""
    low, high = 0, len(current().operations)
    while low < high:
        middle = (low + high) // 2
        shorter = _ending_at(current(), current().operations[middle].name)
        if shorter is None or accept(shorter):
            high = min(middle, len(current().operations))
        else:
            low = middle + 1


def _ending_at(candidate: Candidate, name: str) -> Candidate | None:
    """The graph that returns this value; None if it does so already."""
    graph = copy_graph(candidate.graph_module.graph)
    dead = {node.name for node in graph.nodes if not node.users}
    last = next(node for node in graph.nodes if node.name == name)
    output = graph.output_node()
    if output.args == (last,):
        return None
    output.args = (last,)
    nodes = list(graph.nodes)
    for node in reversed(nodes[nodes.index(last) + 1 :]):
        if node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return _finished(candidate, graph, candidate.args, keep=dead)


def outputs(current: Current, accept: Accept) -> None:
    """Return fewer values."""
    for value in _returned(current()):
        if accept(_returning(current(), [value])):
            return
    chunk = max(1, len(_returned(current())) // 2)
    while len(_returned(current())) > 1:
        for start in range(0, len(_returned(current())), chunk):
            values = _returned(current())
            accept(_returning(current(), values[:start] + values[start + chunk :]))
        if chunk == 1:
            return
        chunk //= 2


def _returned(candidate: Candidate) -> list[str]:
    return [node.name for node in candidate.graph_module.graph.output_node().all_input_nodes]


def _returning(candidate: Candidate, names: Sequence[str]) -> Candidate | None:
    graph = copy_graph(candidate.graph_module.graph)
    nodes = {node.name: node for node in graph.nodes}
    dead = {node.name for node in graph.nodes if not node.users}
    values = tuple(nodes[name] for name in names)
    graph.output_node().args = (values[0] if len(values) == 1 else values,)
    return _finished(candidate, graph, candidate.args, keep=dead)


def placeholders(current: Current, accept: Accept) -> None:
    """Make an operation an input that holds the value that it computed."""
    try:
        values = values_at_birth(current().graph_module, current().args)
    except Exception:  # the graph cannot be run with these inputs: there are no values to hold
        return
    for node in reversed(current().operations):
        if isinstance(values.get(node.name), torch.Tensor) and node.all_input_nodes:
            accept(_as_input(current(), node.name, values[node.name]))


def _as_input(candidate: Candidate, name: str, value: torch.Tensor) -> Candidate | None:
    graph = copy_graph(candidate.graph_module.graph)
    node = next((node for node in graph.nodes if node.name == name), None)
    if node is None:
        return None
    dead = {each.name for each in graph.nodes if not each.users}
    old = [each for each in graph.nodes if each.op == "placeholder"]
    with graph.inserting_after(old[-1]) if old else graph.inserting_before(next(iter(graph.nodes))):
        made = graph.placeholder(f"{name}_value")
    node.replace_all_uses_with(made)
    graph.erase_node(node)
    args = (*candidate.args, value.detach().clone())
    smaller = _finished(candidate, graph, args, keep=dead)
    return None if smaller is None else _without_unused_inputs(smaller)


def inputs(current: Current, accept: Accept) -> None:
    """Drop inputs that nothing uses, and use one input for two of the same type."""
    accept(_without_unused_inputs(current()))
    for node in current().placeholders:
        accept(_without_unused_inputs(current(), [node.name]))
    for index in reversed(range(1, len(current().placeholders))):
        for other in range(index):
            if accept(_merged(current(), index, other)):
                break


def _without_unused_inputs(candidate: Candidate, only: Sequence[str] = ()) -> Candidate | None:
    graph = copy_graph(candidate.graph_module.graph)
    every = {node.name for node in graph.nodes}  # no operation loses a user
    kept: list[Any] = []
    removed = False
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node, value in zip(placeholders, candidate.args, strict=True):
        if not node.users and (not only or node.name in only):
            graph.erase_node(node)
            removed = True
        else:
            kept.append(value)
    return _finished(candidate, graph, tuple(kept), keep=every) if removed else candidate


def _merged(candidate: Candidate, index: int, other: int) -> Candidate | None:
    one, two = candidate.args[index], candidate.args[other]
    if not (isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor) and kind_of(one) == kind_of(two)):
        return None
    graph = copy_graph(candidate.graph_module.graph)
    every = {node.name for node in graph.nodes}  # no operation loses a user
    nodes = [node for node in graph.nodes if node.op == "placeholder"]
    nodes[index].replace_all_uses_with(nodes[other])
    graph.erase_node(nodes[index])
    return _finished(candidate, graph, candidate.args[:index] + candidate.args[index + 1 :], keep=every)


def shapes(current: Current, accept: Accept) -> None:
    """Make the inputs smaller, all dimensions of one size at once."""
    leaves = [leaf for leaf in pytree.tree_leaves(current().args) if isinstance(leaf, torch.Tensor)]
    for size in sorted({size for leaf in leaves for size in leaf.shape if size > 1}, reverse=True):
        for smaller in (1, 2, size // 2):
            if smaller < size and accept(_with_size(current(), size, smaller)):
                break


def _with_size(candidate: Candidate, size: int, smaller: int) -> Candidate:
    def shrunk(tensor: torch.Tensor) -> torch.Tensor:
        index = tuple(slice(0, smaller if each == size else None) for each in tensor.shape)
        return tensor[index].clone() if tensor.ndim else tensor

    args = pytree.tree_map_only(torch.Tensor, shrunk, candidate.args)
    return Candidate(candidate.graph_module, args)


def _kinds(candidate: Candidate) -> dict[str, str]:
    """Dtype and shape of each value, as far as the graph runs."""
    try:
        values = values_at_birth(candidate.graph_module, candidate.args)
    except Exception:  # the inputs do not fit the graph: every operation may be replaced by any of its inputs
        return {}
    found = {name: kind_of(value) for name, value in values.items() if isinstance(value, torch.Tensor)}
    return {**{node.name: "unknown" for node in candidate.operations}, **found} if found else {}


def _finished(
    candidate: Candidate, graph: fx.Graph, args: tuple[Any, ...], keep: Iterable[str] = ()
) -> Candidate | None:
    """The candidate after an edit, without operations that nothing uses any more; None if it is malformed."""
    kept = set(keep)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output") and node.name not in kept:
            graph.erase_node(node)
    try:
        graph.lint()
    except Exception:  # an edit that cannot be made: a value used before it is there, say
        return None
    return Candidate(fx.GraphModule(candidate.graph_module, graph), args)


DELTAS: dict[str, Delta] = {
    "bypass": bypass,
    "truncate": truncate,
    "outputs": outputs,
    "placeholders": placeholders,
    "inputs": inputs,
    "shapes": shapes,
}
