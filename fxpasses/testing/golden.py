"""Golden files: how a graph looks before and after a pass, kept beside the test."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch import fx

from fxpasses.testing.laws.law import PassLike, name_of, transform
from fxpasses.testing.subject import deep_copy


def printed(pass_: PassLike, graph_module: fx.GraphModule) -> str:
    """The graph before and after a pass, as text that is the same on every machine.

    Example:
        >>> print(printed(lambda gm: gm.graph.eliminate_dead_code(), fx.symbolic_trace(lambda x: x)))
        # before
        graph():
            %x : [num_users=1] = placeholder[target=x]
            return x
        <BLANKLINE>
        # after <lambda>
        graph():
            %x : [num_users=1] = placeholder[target=x]
            return x
        <BLANKLINE>
    """
    before = str(graph_module.graph).strip()
    after = str(transform(pass_, deep_copy(graph_module)).graph_module.graph).strip()
    return f"# before\n{before}\n\n# after {name_of(pass_)}\n{after}\n"


def assert_golden(path: str | Path, pass_: PassLike, graph_module: fx.GraphModule, *, update: bool = False) -> None:
    """Compare a graph before and after a pass with a file.

    Args:
        path: The golden file.
        pass_: The pass.
        graph_module: The graph to run it on; it is not changed.
        update: Whether to write the file anew instead; review what changed in it.

    Raises:
        AssertionError: The graphs look different, or there is no such file yet.
    """
    path = Path(path)
    actual = printed(pass_, graph_module)
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(actual, encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(f"{path} is not there yet; write it with update=True and review it\n{actual}")
    expected = path.read_text(encoding="utf-8")
    if actual != expected:
        difference = difflib.unified_diff(expected.splitlines(), actual.splitlines(), str(path), "now", lineterm="")
        raise AssertionError("\n".join(["the graph looks different", *difference]))
