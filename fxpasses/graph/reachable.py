"""Modules and tensors whose names generated code cannot spell, and where a graph module holds them instead.

A user may call a module `class`, or `graph`: `self.class` is no Python, and `self.graph` is the graph module's own
graph. Inside a graph module, and only there, such a module is held under a name with an underscore behind it. Its
qualified name stays the user's.
"""

from __future__ import annotations

import functools
import keyword
import re
import unicodedata
from typing import Any, cast

from torch import fx, nn

_UNSPELLABLE = re.compile(r'["\\\n\r\x00\ud800-\udfff]')
_OWN_ATTRIBUTES = frozenset(
    "eval_graph only_mode selection train_graph _mode_flags _only_mode _selection _waiting_code _waiting_graph".split()
)
"""What our own graph modules have beyond `fx.GraphModule`; the tests see to it that none is missing."""

RESERVED = (frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph()))) - frozenset(dir(nn.Module()))) | _OWN_ATTRIBUTES | {
    "compile_now", "graphs", "is_compiled", "_adopt", "_attributes", "_instance", "_other_graph", "_own_class", "_switch",
}  # fmt: skip
"""Names that a graph module needs for itself."""


def make_reachable(graph_module: nn.Module, graph: fx.Graph) -> None:
    """Moves what `graph` refers to and generated code cannot spell to other names, in module and graph.

    Args:
        graph_module: Holds every target of `graph`. Containers are its own; modules that it shares are not changed.
        graph: Its nodes get the new targets.
    """
    nodes = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    paths = {path: reachable_path(graph_module, path) for path in dict.fromkeys(str(node.target) for node in nodes)}
    for node in nodes:
        if paths[str(node.target)] != node.target:
            node.target = paths[str(node.target)]


def reachable_path(graph_module: nn.Module, path: str) -> str:
    """Returns the path under which `graph_module` holds what it was given at `path`, and moves it there if need be.

    Example:
        >>> module = nn.Module()
        >>> module.add_module("class", nn.ReLU())
        >>> reachable_path(module, "class"), list(module._modules)
        ('class_', ['class_'])
    """
    names = path.split(".")
    if names[0] not in RESERVED and not any(map(_is_unspellable, names)):
        return path
    container: object = graph_module
    found: list[str] = []
    for name in names:
        spelled = name
        if isinstance(container, nn.Module) and (_is_unspellable(name) or (not found and name in RESERVED)):
            spelled = _moved(container, name)
        found.append(spelled)
        container = container._modules.get(spelled) if isinstance(container, nn.Module) else None
    return ".".join(found)


def is_out_of_reach(container: nn.Module, name: str) -> bool:
    """Whether the code of a graph module could not read what `container`, which is in it or is it, has as `name`.

    Example:
        >>> graph_module = fx.GraphModule(nn.Module(), fx.Graph())
        >>> is_out_of_reach(graph_module, "graph"), is_out_of_reach(nn.Module(), "graph")
        (True, False)
    """
    return _is_unspellable(name) or (name in RESERVED and isinstance(container, fx.GraphModule))


def module_path(node: fx.Node) -> str:
    """Returns the user's path of the module that a `call_module` node calls."""
    target = str(node.target)
    stack = node.meta.get("nn_module_stack")
    path = str(stack[next(reversed(stack))][0]) if stack else target
    return path if path != target and _bare(path) == _bare(target) else target


@functools.lru_cache(maxsize=4096)
def _is_unspellable(name: str) -> bool:
    # Python reads an identifier in its normal form: `self.ª` is `self.a`.
    altered = name.isidentifier() and unicodedata.normalize("NFKC", name) != name
    return altered or keyword.iskeyword(name) or _UNSPELLABLE.search(name) is not None


def _spelled(name: str) -> str:
    return _UNSPELLABLE.sub("_", unicodedata.normalize("NFKC", name)) + "_"


def _moved(container: nn.Module, name: str) -> str:
    """Gives an entry of `container` a name that can be spelled; entries keep their order."""
    for entries in cast("list[dict[str, Any]]", [container._modules, container._parameters, container._buffers]):
        if name in entries:
            spelled = _spelled(name)
            while hasattr(type(container), spelled) or getattr(container, spelled, entries[name]) is not entries[name]:
                spelled += "_"
            moved = {spelled if key == name else key: value for key, value in entries.items()}
            entries.clear()
            entries.update(moved)
            if name in container._non_persistent_buffers_set:
                container._non_persistent_buffers_set.add(spelled)
            return spelled
    return name


def _bare(path: str) -> list[str]:
    return [_spelled(name).rstrip("_") for name in path.split(".")]
