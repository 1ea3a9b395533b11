"""By which key each module call of an exported program goes in the graph that is made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import fx
from torch.export import ExportedProgram

from fxpasses.graph.calls import call_key

_ROOT = "L__self__"


def own_keys(program: ExportedProgram, graph: fx.Graph, aliases: Mapping[str, str]) -> dict[str, str]:
    """Returns the keys of the calls of modules that have several paths, by their keys in the program.

    An export calls such a module by the path on which it was reached. Here, as in every other capture, it goes by its
    first path, and its calls are counted over all paths.

    Args:
        program: The program.
        graph: Its graph, with the stacks that the export wrote.
        aliases: The first path of each module by its further ones.
    """
    calls: dict[str, list[tuple[str, str]]] = {}
    for key, path in dict.fromkeys((*_of_nodes(graph), *_of_signatures(program))):
        calls.setdefault(aliases.get(path, path), []).append((key, path))
    return {
        key: call_key(first, index)
        for first, found in calls.items()
        if any(path != first for _, path in found)
        for index, (key, _) in enumerate(found)
    }


def plain_key(key: str) -> str:
    """Spells the key of an exported stack as that of a tracer of `torch.fx`.

    Example:
        >>> plain_key("L__self__layer.conv@1")
        'layer.conv@1'
    """
    return key.removeprefix(_ROOT).lstrip(".")


def path_of(key: str) -> str:
    """Returns the path of the module that a call is of.

    Example:
        >>> path_of("layer.conv@1")
        'layer.conv'
    """
    return key.partition("@")[0]


def says_all(signature: Any) -> bool:
    """Whether a signature has as many values as its structure: that of a path on which nothing was called has none."""
    inputs, outputs = signature.in_spec, signature.out_spec
    return len(signature.inputs) == inputs.num_leaves and len(signature.outputs) == outputs.num_leaves


def _of_nodes(graph: fx.Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        stack = cast("Mapping[str, tuple[str, Any]]", node.meta.get("nn_module_stack") or {})
        for key, (path, _) in stack.items():
            yield plain_key(key), path_of(path)


def _of_signatures(program: ExportedProgram) -> Iterator[tuple[str, str]]:
    for entry in program.module_call_graph:
        if entry.fqn and entry.signature is not None and says_all(entry.signature):
            yield entry.fqn, path_of(entry.fqn)
