"""What can be wrong with a graph as a graph: order, uses, tables, names, placeholders and outputs.

Each check first asks its question of all nodes at once, and looks for the culprits only if the answer is bad.
"""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter

from torch import fx

from fxpasses.graph.state import GraphColumns
from fxpasses.graph.verify.problem import Problem

_OPS = frozenset({"placeholder", "call_method", "call_module", "call_function", "get_attr", "output"})
_op_of = attrgetter("op")
_target_of = attrgetter("target")


def structure_problems(columns: GraphColumns) -> Iterator[Problem]:
    """Yields what is wrong with the graph as a graph."""
    yield from _table_problems(columns)
    yield from _order_problems(columns)
    yield from user_problems(columns)
    yield from _name_problems(columns)
    yield from _placeholder_problems(columns)
    yield from _output_problems(columns)


def _table_problems(columns: GraphColumns) -> Iterator[Problem]:
    graph = columns.graph
    if len(columns.nodes) != graph._len:
        yield Problem("table", None, f"The graph counts {graph._len} nodes, and has {len(columns.nodes)}.")
    listed: set[fx.Node] = set()
    for (op, target), nodes in graph._find_nodes_lookup_table.table.items():
        fits = set(map(_op_of, nodes)) == {op} and (target is None or set(map(_target_of, nodes)) == {target})
        listed.update(nodes if fits else [node for node in nodes if node.op == op and target in (None, node.target)])
    for node in columns.nodes:
        if node not in listed:
            yield Problem("table", node, f"{node.name!r} is not found by graph.find_nodes: it was entered by hand.")
        if node.graph is not graph:
            yield Problem("table", node, f"{node.name!r} belongs to another graph.")


def _order_problems(columns: GraphColumns) -> Iterator[Problem]:
    seen: set[fx.Node] = set()
    for node in columns.nodes:
        if not seen.issuperset(node._input_nodes):
            yield from (_order_problem(node, each, columns) for each in node._input_nodes if each not in seen)
        seen.add(node)


def _order_problem(node: fx.Node, used: fx.Node, columns: GraphColumns) -> Problem:
    if used.graph is not columns.graph:
        return Problem("foreign", node, f"{node.name!r} uses {used.name!r}, which belongs to another graph.")
    if used not in columns.nodes:
        return Problem("erased", node, f"{node.name!r} uses {used.name!r}, which was erased from the graph.")
    return Problem("order", node, f"{node.name!r} uses {used.name!r}, which only comes after it.")


def user_problems(columns: GraphColumns) -> Iterator[Problem]:
    """Yields where `users` are not the users; nothing that a graph does itself makes that happen."""
    uses = 0
    for node in columns.nodes:
        for used in node._input_nodes:
            uses += 1
            if node not in used.users:
                text = f"{used.name!r} is used by {node.name!r}, which is missing in its `users`."
                yield Problem("users", used, text)
    # If every use is listed, and nothing else is, then the numbers agree.
    if uses == sum(len(node.users) for node in columns.nodes):
        return
    nodes = set(columns.nodes)
    for node in columns.nodes:
        for user in node.users:
            if user not in nodes or node not in user._input_nodes:
                text = f"{node.name!r} lists {user.name!r} in its `users`, which does not use it."
                yield Problem("users", node, text)


def _name_problems(columns: GraphColumns) -> Iterator[Problem]:
    names = set(columns.name)
    if len(names) < len(columns.name):
        counts = Counter(columns.name)
        for node, name in zip(columns.nodes, columns.name, strict=True):
            if counts[name] > 1:
                yield Problem("name", node, f"The name {name!r} belongs to {counts[name]} nodes.")
    impossible = {name for name in names if not name.isidentifier()} | names.intersection(keyword.kwlist)
    for node, name in zip(columns.nodes, columns.name, strict=True) if impossible else ():
        if name in impossible:
            yield Problem("name", node, f"A node is named {name!r}, which Python cannot use as a variable.")


def _placeholder_problems(columns: GraphColumns) -> Iterator[Problem]:
    targets: set[str] = set()
    last = None
    for node, op in zip(columns.nodes, columns.op, strict=True):
        if op != "placeholder":
            last = last if op == "get_attr" else node  # the module of an exported program reads its parameters first
            continue
        if last is not None:
            text = f"The placeholder {node.name!r} comes after {last.name!r}; placeholders come first."
            yield Problem("placeholder", node, text)
        if not isinstance(node.target, str):
            continue  # told with what the other nodes call
        if node.target in targets:
            yield Problem("placeholder", node, f"Two placeholders are for the argument {node.target!r}.")
        targets.add(node.target)


def _output_problems(columns: GraphColumns) -> Iterator[Problem]:
    if not _OPS.issuperset(columns.op):
        for node, op in zip(columns.nodes, columns.op, strict=True):
            if op not in _OPS:
                yield Problem("op", node, f"{node.name!r} has the unknown opcode {op!r}.")
    outputs = [index for index, op in enumerate(columns.op) if op == "output"]
    if not outputs:
        yield Problem("output", columns.nodes[-1] if columns.nodes else None, "The graph has no output node.")
        return
    for index in outputs[1:]:
        yield Problem("output", columns.nodes[index], f"The graph has {len(outputs)} output nodes; one is allowed.")
    after = outputs[0] + 1
    if after < len(columns.nodes) and columns.op[after] != "output":
        node = columns.nodes[after]
        yield Problem("output", node, f"{node.name!r} comes after the output; it is never computed.")
    for index in outputs:
        if len(columns.args[index]) != 1:
            node = columns.nodes[index]
            text = f"The output {node.name!r} has {len(columns.args[index])} arguments; it takes one."
            yield Problem("output", node, text)
