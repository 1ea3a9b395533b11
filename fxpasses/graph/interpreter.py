"""`Interpreter`: runs a graph node by node, as the code that torch generates from it would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import fx

from fxpasses.graph.calls import map_structure


class Interpreter(fx.Interpreter):
    """An `fx.Interpreter` whose functions may write into the lists and dicts that they are given.

    `fx.Interpreter` passes the immutable containers in which a node holds its arguments; generated code makes new ones
    at each call, and some functions write into them.

    Example:
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> _ = graph.output(graph.call_function(lambda values: values.pop(), ([x, 2],)))
        >>> Interpreter(fx.GraphModule({}, graph)).run(1)
        2
    """

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the arguments of a node, in containers of their own."""

        def value_of(part: object) -> object:
            return self.env[part] if isinstance(part, fx.Node) else part

        args, kwargs = (map_structure(passed, value_of) for passed in (n.args, n.kwargs))
        return cast("tuple[Any, ...]", args), cast("dict[str, Any]", kwargs)


def in_order(graph_module: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The inputs of a graph as an interpreter takes them: one for each placeholder, defaults where there is none.

    Example:
        >>> in_order(fx.symbolic_trace(lambda x, y, z=3: x + y + z), [1], {"y": 2})
        [1, 2, 3]
    """
    placeholders = graph_module.graph.find_nodes(op="placeholder")[len(args) :]
    return [*args, *(kwargs[node.target] if node.target in kwargs else node.args[0] for node in placeholders)]
