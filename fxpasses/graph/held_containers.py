"""Generated code that looks up a container once, however many of its modules it calls.

`self.layer1` is not where Python looks first: `nn.Module` finds its children in `__getattr__`, which takes as long as a
dozen ordinary attributes. Torch's generated code goes all the way from `self` for each call: three such steps for
`self.layer1.0.conv1`. A forward on small inputs shows it.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from torch import fx

_COUNTER = re.compile(r"# COUNTER: (\d+)")
_WORD = re.compile(r"\w+")
_one_at_a_time = threading.Lock()


@contextmanager
def held_containers(graph: fx.Graph) -> Generator[None]:
    """Lets the code that is generated for `graph` in this block keep containers in local variables.

    They are looked up in each call of the forward, where they are first needed: a module that is replaced counts from
    the next call on. Where somebody else transforms the code, it is left to them.

    Example:
        >>> from torch import nn
        >>> graph_module = fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh())))
        >>> with held_containers(graph_module.graph):
        ...     code = graph_module.graph.python_code("self").src
        >>> [line.strip() for line in code.splitlines() if "self" in line][1:]
        ['_0 = getattr(self, "0")']
    """
    nodes = list(graph.nodes)
    # Graphs may share what generates their code, so that one at a time may lend it a transformer.
    with _one_at_a_time, graph.on_generate_code(lambda current: current or (lambda body: hold_containers(body, nodes))):
        yield


def hold_containers(body: Sequence[str], nodes: Sequence[fx.Node]) -> list[str]:
    """Returns the lines of a forward with each container that is used more than once in a local variable.

    Args:
        body: What `torch.fx` generates, with the mark that it puts before the lines of each node.
        nodes: The nodes of the graph, in order.
    """
    uses = Counter(_container(node) for node in nodes)
    taken = set(_WORD.findall("".join(body))) if any(uses[path] > 1 for path in uses if path) else set[str]()
    held: dict[str, str] = {}
    lines: list[str] = []
    node: fx.Node | None = None
    for line in body:
        mark = _COUNTER.match(line)
        if mark:
            node = nodes[int(mark[1])]
        elif node is not None and uses[_container(node)] > 1:
            line = _with_local(line, node, held, lines, taken)
        lines.append(line)
    return lines


def _with_local(line: str, node: fx.Node, held: dict[str, str], lines: list[str], taken: set[str]) -> str:
    """Returns the line that runs `node` with its container as a local variable, which is defined before if need be."""
    container, target = _container(node), str(node.target)
    lookup = f" = {_expression('self', target)}"
    if not container or not line.startswith(node.name) or lookup not in line:
        return line
    if container not in held:
        outer = _nearest(container, held)
        name = _free_name(container, taken)
        lines.append(f"{name} = {_expression(held.get(outer, 'self'), container.removeprefix(outer).lstrip('.'))}\n")
        held[container] = name
    return line.replace(lookup, f" = {_expression(held[container], target.rpartition('.')[2])}", 1)


def _container(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0] if node.op in ("call_module", "get_attr") else ""


def _nearest(path: str, held: dict[str, str]) -> str:
    """Returns the innermost of the containers around `path` that is held; empty if none is."""
    while path and path not in held:
        path = path.rpartition(".")[0]
    return path


def _expression(base: str, path: str) -> str:
    for name in path.split("."):
        base = f"{base}.{name}" if name.isidentifier() else f'getattr({base}, "{name}")'
    return base


def _free_name(path: str, taken: set[str]) -> str:
    name = re.sub(r"\W", "_", path)
    name = f"_{name}" if name[:1].isdigit() else name
    while name in taken:
        name += "_"
    taken.add(name)
    return name
