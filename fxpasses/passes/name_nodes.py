"""`NameNodes`: attaches a qualified name to each node and to each module call.

1. A module call is called by the module's exact path: `layer1.0.conv1`.
2. Any other operation is called by the path of the module that runs it and its own short name: `layer1.0.add`.
3. A repeat of either under the same parent gets `_1`, `_2`, …: `layer1.0.relu_1`.
4. A name that a user chose (a module's path, a parameter's, an argument's) is never altered, and no counter
   ever makes one that is taken: beside a module `ln_1`, the second call of `ln` is `ln_2`.

Names depend on the enclosing module and the order of calls in it alone, so a change elsewhere renames nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import fx, nn

from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.calls import ModuleCall
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.graph.meta import capture_record, name_and_style, parent_path, set_capture_record, set_name
from fxpasses.graph.modules import attribute
from fxpasses.graph.reachable import module_path
from fxpasses.graph.short_names import short_name, snake_case
from fxpasses.manager import Pass, PassResult

NameStyle = Literal["exact", "torchvision"]


@dataclass(frozen=True)
class NameNodes(Pass):
    """Attaches qualified names to the nodes of a graph, and to the module calls of its capture record.

    A node that already has a name of the same style keeps it, so the pass can run again after any other.
    Linear in the number of nodes. Changes `node.meta` in place, nothing else.

    Attributes:
        style: `"exact"`, the rules at the top of this module; or `"torchvision"`, the names that torchvision's
            feature extractor would give, with its faults (a trailing `_<number>` is cut off every name before
            counting, so that two layers `ln_1` and `ln_2` are called `ln` and `ln_1`), for stored configurations.

    Example:
        >>> from fxpasses.graph.meta import qualified_name
        >>> graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> result = NameNodes()(graph_module)
        >>> [qualified_name(node) for node in graph_module.graph.nodes]
        ['input', '0', '1', None]
    """

    style: NameStyle = "exact"

    provides: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES, CALLS})

    def __post_init__(self) -> None:
        """Checks the style."""
        if self.style not in ("exact", "torchvision"):
            raise ArgumentTypeError(f"names={self.style!r}: the styles are 'exact' and 'torchvision'.")

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        """Names what has no name yet."""
        paths = _called_paths(graph_module)
        names = _names(graph_module, self.style, paths)
        modified = [node for node, name in names.items() if name_and_style(node) != (name, self.style)]
        for node in modified:
            set_name(node, names[node], self.style)
        return PassResult(graph_module, bool(modified) | _name_calls(graph_module, paths, set(names.values())))


def names_of(graph_module: fx.GraphModule, style: NameStyle) -> dict[fx.Node, str]:
    """Returns the name of each node but the output, in graph order; changes nothing."""
    return _names(graph_module, style, _called_paths(graph_module))


def _names(graph_module: fx.GraphModule, style: NameStyle, called_paths: set[str]) -> dict[fx.Node, str]:
    nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
    folded = buffer_expressions(graph_module)
    if style == "torchvision":
        return _torchvision_names(nodes, folded)
    return exact_names(nodes, called_paths, folded)


def exact_names(
    nodes: Iterable[fx.Node], module_paths: Iterable[str] = (), numbered_last: Iterable[fx.Node] = ()
) -> dict[fx.Node, str]:
    """Names `nodes` by the rules of this module.

    Args:
        nodes: Nodes of one graph, in order, without the output node.
        module_paths: Paths of modules that are called: no other operation may take such a name.
        numbered_last: Nodes that get what names the others leave. Operations on buffers alone belong here: some
            captures fold them into constants, and the other names must not depend on that.
    """
    last = set(numbered_last)
    order = dict.fromkeys(nodes)
    nodes = list(order)
    if last:
        nodes = [node for node in order if node not in last] + [node for node in order if node in last]
    counter = _Counter(module_paths)
    kept = _kept_names(nodes)
    owners = _owners(nodes, kept, counter.taken)
    counter.taken.update(kept.values(), owners.values())
    names: dict[fx.Node, str] = {}
    called = set(kept.values())  # somebody may have given a module's name to another node
    for node in nodes:
        if node in kept or node in owners:
            names[node] = kept.get(node) or owners[node]
        elif node.op == "call_module" and module_path(node) not in called:
            names[node] = module_path(node)
        else:
            names[node] = counter.next_name(_base_name(node))
        if node.op == "call_module":
            called.add(module_path(node))
    return {node: names[node] for node in order} if last else names


class _Counter:
    """Hands out names that are not taken: the base itself, then `base_1` and so on."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self._next: defaultdict[str, int] = defaultdict(int)

    def next_name(self, base: str) -> str:
        name = base
        while name in self.taken:
            self._next[base] += 1
            name = f"{base}_{self._next[base]}"
        self.taken.add(name)
        return name


def _kept_names(nodes: list[fx.Node]) -> dict[fx.Node, str]:
    """Returns the names that nodes have already, each for the first node that has it."""
    kept: dict[str, fx.Node] = {}
    for node in nodes:
        name, style = name_and_style(node)
        if name is not None and style == "exact":
            kept.setdefault(name, node)
    return {node: name for name, node in kept.items()}


def _owners(nodes: list[fx.Node], kept: dict[fx.Node, str], taken: set[str]) -> dict[fx.Node, str]:
    """Returns the names that users gave to arguments and parameters: no operation may take them."""
    owners: dict[str, fx.Node] = {}
    reserved = taken.union(kept.values())
    for node in nodes:
        if node.op in ("placeholder", "get_attr") and node not in kept and _base_name(node) not in reserved:
            owners.setdefault(_base_name(node), node)
    return {node: name for name, node in owners.items()}


def _base_name(node: fx.Node) -> str:
    if node.op == "call_module":
        return module_path(node)
    parent = parent_path(node)
    return f"{parent}.{short_name(node)}" if parent else short_name(node)


def _called_paths(graph_module: fx.GraphModule) -> set[str]:
    """Returns the paths of all modules that the graph calls, traced through or not."""
    record = capture_record(graph_module)
    paths = set() if record is None else {call.path for call in record.calls}
    seen: set[int] = set()
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            paths.add(module_path(node))
        stack = node.meta.get("nn_module_stack")
        if stack and id(stack) not in seen:  # the nodes of one call often share theirs
            seen.add(id(stack))
            paths.update(entry[0] for entry in stack.values())
    return paths - {""}


def buffer_expressions(graph_module: fx.GraphModule) -> set[fx.Node]:
    """Returns the operations whose only inputs are buffers and constants, and what is computed from those."""
    found: set[fx.Node] = set()
    for node in graph_module.graph.nodes:
        if _reads_buffer(graph_module, node) or (found and _uses_only(found, node)):
            found.add(node)
    return found


def _reads_buffer(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "get_attr" and not isinstance(attribute(graph_module, str(node.target)), nn.Parameter)


def _uses_only(found: set[fx.Node], node: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method"):
        return False
    inputs = node.all_input_nodes
    return bool(inputs) and found.issuperset(inputs)


def _name_calls(graph_module: fx.GraphModule, paths: set[str], names: set[str]) -> bool:
    """Names the recorded calls: the first of a module by its path, a further one by the next free number.

    Args:
        graph_module: Its capture record gets the names.
        paths: Those of all modules that are called.
        names: The names of all nodes.
    """
    record = capture_record(graph_module)
    if record is None:
        return False
    counter = _Counter(paths | names)
    counter.taken.update(call.name for call in record.calls if call.name is not None)
    calls = tuple(_named_call(call, counter, names) for call in record.calls)
    if calls == record.calls:
        return False
    set_capture_record(graph_module, replace(record, calls=calls))
    return True


def _named_call(call: ModuleCall, counter: _Counter, names: set[str]) -> ModuleCall:
    if call.name is not None:
        return call
    is_own = call.index == 0 and call.path not in names
    return replace(call, name=call.path if is_own else counter.next_name(call.path))


_NUMBERED = re.compile(r"(.+)_([0-9]+)$", re.DOTALL)


def _torchvision_names(nodes: list[fx.Node], unnamed: set[fx.Node]) -> dict[fx.Node, str]:
    """Names `nodes` as torchvision does; those that it leaves without a name get free ones."""
    last_number: dict[str, int] = {}
    names: dict[fx.Node, str] = {}
    for node in nodes:
        if node in unnamed:
            continue
        base = _torchvision_base(node)
        cut = _NUMBERED.match(base)
        name = base = cut[1] if cut else base
        if base in last_number:
            name = f"{base}_{last_number[base] + 1}"
        last_number[name] = 0
        numbered = _NUMBERED.match(name)
        if numbered:
            last_number[numbered[1]] = int(numbered[2])
        names[node] = name
    counter = _Counter(names.values())
    return {node: names[node] if node in names else counter.next_name(_base_name(node)) for node in nodes}


def _torchvision_base(node: fx.Node) -> str:
    """Returns the name before numbers; torchvision takes those of parameters and arguments from nodes, in lower case."""
    parent, dot, short = _base_name(node).rpartition(".")
    return parent + dot + (snake_case(short) if node.op in ("get_attr", "placeholder") else short)
