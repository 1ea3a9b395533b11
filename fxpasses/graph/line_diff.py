"""`changed_lines`: a line for each node that is different between two states, with a few around it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fxpasses.graph.spelling import lines_of
from fxpasses.graph.state import GraphColumns

_AROUND = 2


def changed_lines(before: GraphColumns, after: GraphColumns) -> list[str]:
    r"""Returns the lines of a diff between two recorded graphs, in linear time; none if they print alike.

    Lines start with `-` or `+`, those around a change with a space; `@@` marks where lines were left out.

    Example:
        >>> from torch import fx
        >>> graph_module = fx.symbolic_trace(lambda x: (x + 1) * 2)
        >>> before = GraphColumns.of(graph_module.graph)
        >>> list(graph_module.graph.nodes)[1].args = (3, 4)
        >>> print(*changed_lines(before, GraphColumns.of(graph_module.graph)), sep="\n")
          x = placeholder[x]()
        - add = call_function[add](x, 1)
        + add = call_function[add](3, 4)
          mul = call_function[mul](add, 2)
          output = output[output](mul)
    """
    lines = list(_aligned(before, after))
    changed = [index for index, line in enumerate(lines) if line[0] != " "]
    if not changed:
        return []
    shown = sorted({near for index in changed for near in range(index - _AROUND, index + _AROUND + 1)})
    found: list[str] = []
    last = -1
    for index in shown:
        if not 0 <= index < len(lines):
            continue
        if index != last + 1:
            found.append("@@")
        found.append(lines[index])
        last = index
    return found + ["@@"] * (last < len(lines) - 1)


def _aligned(before: GraphColumns, after: GraphColumns) -> Iterator[str]:
    by_identity = before.graph is after.graph
    old_keys = before.nodes if by_identity else before.name
    new_keys = after.nodes if by_identity else after.name
    old_lines, new_lines = lines_of(before), lines_of(after)
    place = {key: index for index, key in enumerate(old_keys)}
    kept = place.keys() & set(new_keys)
    done = 0  # how many of the old lines were yielded
    for key, line in zip(new_keys, new_lines, strict=True):
        index = place.get(key, -1)
        stop = index if index >= done else _next_kept(old_keys, kept, done)
        yield from (f"- {old}" for old in old_lines[done:stop])
        done = stop
        if index < stop:
            yield f"+ {line}"
            continue
        done += 1
        if old_lines[index] == line:
            yield f"  {line}"
        else:
            yield f"- {old_lines[index]}"
            yield f"+ {line}"
    yield from (f"- {old}" for old in old_lines[done:])


def _next_kept(keys: Sequence[object], kept: Collection[object], start: int) -> int:
    return next((index for index in range(start, len(keys)) if keys[index] in kept), len(keys))
