"""From `torch.fx` to networkx: the only place where a graph becomes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from torch import fx

from fxpasses.graph.calls import leaves, map_structure
from fxpasses.graph.meta import qualified_name

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(graph: fx.Graph, names: Collection[str] | None = None) -> nx.MultiDiGraph[str]:
    """Returns `graph` as a networkx multigraph, with one edge for each use of a value.

    Nodes are the qualified names, or the node's own name where there is none; the output is `output`. Each has the
    attributes `op`, `target` (as text), `position` (in the graph's order) and `constants` (its arguments without the
    nodes, as text).
    Each edge has `argument`, the place of the value among the user's arguments.

    Args:
        graph: The graph.
        names: The nodes to describe, with the edges that lead to them; None for all. What those come from is in the
            result without attributes.

    Example:
        >>> graph = to_networkx(fx.symbolic_trace(lambda x: x + x).graph)
        >>> list(graph.nodes), list(graph.edges(data="argument"))
        (['x', 'add', 'output'], [('x', 'add', 0), ('x', 'add', 1), ('add', 'output', 0)])
    """
    import networkx as nx  # half a second that only users of this module pay

    result: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    keys = node_keys(graph)
    for position, node in enumerate(graph.nodes):
        if names is not None and keys[node] not in names:
            continue
        constants = repr(map_structure((node.args, dict(node.kwargs)), _without_node))
        result.add_node(keys[node], op=node.op, target=target_text(node), position=position, constants=constants)
        for argument, source in enumerate(operands(node)):
            result.add_edge(keys[source], keys[node], argument=argument)
    return result


def node_keys(graph: fx.Graph) -> dict[fx.Node, str]:
    """Returns how each node of `graph` is called in networkx; see `to_networkx`.

    Where no naming pass has run, several nodes may have one name: the second is then called `name#2`.
    """
    keys: dict[fx.Node, str] = {}
    seen: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op == "output":
            continue
        key = name = qualified_name(node) or node.name
        while key in seen:
            seen[name] += 1
            key = f"{name}#{seen[name]}"
        seen[key] += 1
        keys[node] = key
    # A module may be called "output" too, but no name begins with a dot.
    keys[graph.output_node()] = ".output" if "output" in seen else "output"
    return keys


def target_text(node: fx.Node) -> str:
    """Returns what `node` calls, as text that is the same in every process."""
    target = node.target
    if isinstance(target, str):
        return target
    module = getattr(target, "__module__", None) or ""
    return f"{module}.{getattr(target, '__qualname__', getattr(target, '__name__', repr(target)))}".lstrip(".")


def operands(node: fx.Node) -> list[fx.Node]:
    """Returns the values that `node` uses, in the order of its arguments, each as often as it is used."""
    return [part for part in leaves((node.args, dict(node.kwargs))) if isinstance(part, fx.Node)]


def _without_node(part: object) -> object:
    return "%" if isinstance(part, fx.Node) else part
