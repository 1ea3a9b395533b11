"""Printed graphs in files: compared, or written anew with `--update-golden`."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch import fx

from fxpasses.graph.calls import map_structure
from fxpasses.graph.meta import qualified_name


def printed(graph: fx.Graph) -> str:
    """Returns one line a node: name, op, target and arguments, in words that are the same on every machine."""
    return "".join(f"{_line(node)}\n" for node in graph.nodes)


def assert_golden(path: Path, text: str, update: bool) -> None:
    """Fails with a diff unless the file at `path` holds `text`; with `update`, writes it there."""
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.exists(), f"{path.name} does not exist yet: run pytest with --update-golden, then read the file"
    expected = path.read_text(encoding="utf-8")
    difference = difflib.unified_diff(expected.splitlines(), text.splitlines(), path.name, "now", lineterm="")
    assert text == expected, "\n" + "\n".join(difference)


def _line(node: fx.Node) -> str:
    args, kwargs = node.args, dict(node.kwargs)
    given = [_text(arg) for arg in args] + [f"{key}={_text(value)}" for key, value in kwargs.items()]
    # Where torch keeps a function is its own affair and changes from version to version: the bare name will do.
    target = getattr(node.target, "__name__", node.target)
    called = f"{node.op} {target}({', '.join(given)})"
    return f"{qualified_name(node) or node.name} = {called}"


def _text(argument: object) -> str:
    return repr(map_structure(argument, lambda part: _Word(_name(part)) if isinstance(part, fx.Node) else part))


def _name(node: fx.Node) -> str:
    return f"%{qualified_name(node) or node.name}"


class _Word(str):
    def __repr__(self) -> str:
        return str(self)
