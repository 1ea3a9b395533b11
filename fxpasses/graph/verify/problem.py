"""`Problem`: one thing that is malformed in a graph."""

from __future__ import annotations

from typing import NamedTuple

from torch import fx


class Problem(NamedTuple):
    """One thing that is malformed.

    Attributes:
        kind: A short fixed name of what is wrong, such as `order` or `users`.
        node: The culprit; None if it is the graph as a whole.
        text: What is wrong with which node, as a sentence.
    """

    kind: str
    node: fx.Node | None
    text: str
