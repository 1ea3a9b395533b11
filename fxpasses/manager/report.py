"""`Report`: what a run of a pipeline did, as a tree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fxpasses.graph.change import GraphChange
from fxpasses.manager.report_table import plain_table, rich_table


@dataclass(frozen=True)
class Report:
    """What one pass, or one pipeline with the passes inside it, did in one run.

    Attributes:
        name: How errors call the pass.
        position: Its place in the pipeline.
        seconds: How long it ran, with what runs inside it.
        changed: Whether the graph module is another one than before: as measured, or as a pass says that
            changed what no comparison of graphs shows.
        claimed: What the pass said in its `modified`; None if it said nothing, and for what did not run.
        added: How many nodes are new.
        removed: How many nodes are gone.
        replaced: How many of the removed nodes have another node in their place.
        edited: How many nodes have another target, argument or name.
        skipped: Why it did not run; None if it ran.
        children: The passes of a pipeline; for a repetition, those of every round.

    Example:
        >>> Report("name-nodes", (0,), 0.25, changed=True, added=2).as_dict()["added"]
        2
    """

    name: str
    position: tuple[int, ...] = ()
    seconds: float = 0.0
    changed: bool = False
    claimed: bool | None = None
    added: int = 0
    removed: int = 0
    replaced: int = 0
    edited: int = 0
    skipped: str | None = None
    children: tuple[Report, ...] = ()

    def __iter__(self) -> Iterator[Report]:
        """Yields this report and all below it, in the order in which the passes ran."""
        yield self
        for child in self.children:
            yield from child

    def __str__(self) -> str:
        """Returns the tree as a table in plain text; rich prints it as one of its own tables."""
        return plain_table(self)

    def __rich__(self) -> Any:
        """Called by rich."""
        return rich_table(self)

    def as_dict(self) -> dict[str, Any]:
        """Returns the tree as dictionaries and lists of JSON values."""
        return asdict(self)

    def to_json(self, indent: int | None = 2) -> str:
        """Returns the tree as JSON text."""
        return json.dumps(self.as_dict(), indent=indent)

    @classmethod
    def of_step(
        cls,
        name: str,
        position: tuple[int, ...],
        seconds: float,
        claimed: bool | None,
        change: GraphChange,
        *,
        changed: bool,
    ) -> Report:
        """Makes the report of one pass from what it changed."""
        return cls(
            name,
            position,
            seconds,
            changed,
            claimed,
            len(change.added),
            len(change.removed),
            len(change.replaced),
            len(change.edited),
        )

    @classmethod
    def of_children(cls, name: str, position: tuple[int, ...], children: tuple[Report, ...]) -> Report:
        """Makes the report of a pipeline from those of its passes."""
        return cls(
            name,
            position,
            sum(each.seconds for each in children),
            any(each.changed for each in children),
            added=sum(each.added for each in children),
            removed=sum(each.removed for each in children),
            replaced=sum(each.replaced for each in children),
            edited=sum(each.edited for each in children),
            children=children,
        )
