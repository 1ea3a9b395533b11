"""The summary of the coverage benchmark as a table."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

_HEAD = (
    "| library | capture | mode | models | captured | output equal, batch 2 / 3 | features equal, batch 2 / 3 "
    "| modules that can be named | torchvision takes | names as torchvision's | seconds, median | nodes, median |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the summary, and after it each model that was not captured or that differs, with the cause."""
    groups: defaultdict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        for mode in ("eval", "train"):
            groups[row["library"], row["capture"], mode].append((row["model"], row[mode]))
    lines = [_line(key, found) for key, found in sorted(groups.items())]
    exceptions = [line for key, found in sorted(groups.items()) for line in _exceptions(key, found)]
    return (
        "# Which models each capture takes\n\n"
        "Made by `python benchmarks/coverage.py run` and `table`; random weights, batch 2 captured, batch 3 tried as well; "
        "equal means bit for bit, with the same seed. A model that does not run in a mode (detection without targets) "
        "counts as not captured there.\n\n" + _HEAD + "".join(lines) + "\n## Exceptions\n\n" + "".join(exceptions)
    )


def _line(key: tuple[str, str, str], found: list[tuple[str, dict[str, Any]]]) -> str:
    captured = [row for _, row in found if "nodes" in row]
    peers = [row for _, row in found if row.get("torchvision")]
    both = [row for row in captured if "same_names" in row]
    outputs, features = (_equal(captured, what) for what in ("output", "features"))
    share = sum(row["nameable"] for row in captured) / max(len(captured), 1)
    seconds, nodes = (median([row[what] for row in captured] or [0]) for what in ("seconds", "nodes"))
    same = sum(row["same_names"] for row in both)
    return (
        f"| {' | '.join(key)} | {len(found)} | {len(captured)} | {outputs} | {features} | {share:.3f} | {len(peers)} "
        f"| {same} of {len(both)} | {seconds:.2f} | {nodes:.0f} |\n"
    )


def _equal(captured: list[dict[str, Any]], what: str) -> str:
    counts = [sum(row[what][batch] == "equal" for row in captured if isinstance(row[what], list)) for batch in (0, 1)]
    return f"{counts[0]} / {counts[1]}"


def _exceptions(key: tuple[str, str, str], found: list[tuple[str, dict[str, Any]]]) -> list[str]:
    lines: list[str] = []
    for model, row in found:
        if "cause" in row:
            lines.append(f"- {' '.join(key)}, {model}: {row['cause']}\n")
            continue
        for what in ("output", "features"):
            if row[what] != ["equal", "equal"]:
                lines.append(f"- {' '.join(key)}, {model}, {what}: {row[what]}\n")
    return lines
