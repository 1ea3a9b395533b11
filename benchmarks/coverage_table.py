"""The summary of the coverage benchmark as a table."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import median
from typing import Any

Rows = list[tuple[str, dict[str, Any]]]

_INTRODUCTION = """\
# Which models each capture takes

Made by `python benchmarks/coverage.py run` and `table`; random weights, captured with batch 2, run with 2 and with 3. Equal means bit for bit
with the eager model, with the same seed: its output, and 10 module features. *nameable* is the share of the modules that
the model calls whose values can be asked for. *torchvision's names*: of the models that torchvision's extractor takes too, those with
its names, in its order. Captures that are called `peer-` are torchvision's extractor and timm's wrapper of it.

"""
_HEAD = (
    "| library | capture | mode | models | captured | output equal 2 / 3 | features equal 2 / 3 | nameable "
    "| torchvision's names | seconds, median | nodes, median |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)
_SHOWN = 12


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the summary, and after it what was not captured or differs, by cause."""
    groups: defaultdict[tuple[str, str, str], Rows] = defaultdict(list)
    for row in rows:
        for mode in ("eval", "train"):
            groups[row["library"], row["capture"], mode].append((row["model"], row[mode]))
    lines = [_line(key, found) for key, found in sorted(groups.items())]
    return _INTRODUCTION + _HEAD + "".join(lines) + "\n## Exceptions, by cause\n" + "".join(_exceptions(groups))


def _line(key: tuple[str, str, str], found: Rows) -> str:
    captured = [row for _, row in found if "nodes" in row]
    cells = [*key, str(len(found)), str(len(captured)), *_measured(captured)]
    cells += [f"{median([row[what] for row in captured] or [0]):{form}}" for what, form in _MEDIANS]
    return f"| {' | '.join(cells)} |\n"


_MEDIANS = (("seconds", ".2f"), ("nodes", ".0f"))


def _measured(captured: list[dict[str, Any]]) -> list[str]:
    """Returns the cells that a peer does not have."""
    if not any("output" in row for row in captured):
        return [""] * 4
    both = [row["same_names"] for row in captured if "same_names" in row]
    share = sum(row["nameable"] for row in captured) / len(captured)
    return [
        *(_equal(captured, what) for what in ("output", "features")),
        f"{share:.3f}",
        f"{sum(both)} of {len(both)}" if both else "",
    ]


def _equal(captured: list[dict[str, Any]], what: str) -> str:
    counts = [sum(row[what][batch] == "equal" for row in captured if isinstance(row[what], list)) for batch in (0, 1)]
    return f"{counts[0]} / {counts[1]}"


def _exceptions(groups: dict[tuple[str, str, str], Rows]) -> list[str]:
    """Returns a section a library and capture, in which each cause is one line with its models."""
    sections: defaultdict[tuple[str, str], defaultdict[str, defaultdict[str, list[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for (library, capture, mode), found in sorted(groups.items()):
        for model, row in found:
            for cause in _causes(row):
                sections[library, capture][cause][model].append(mode)
    lines: list[str] = []
    for (library, capture), causes in sections.items():
        lines.append(f"\n{library}, {capture}:\n\n")
        for cause, models in sorted(causes.items(), key=lambda each: -len(each[1])):
            lines.append(f"- {len(models)}: `{cause}`: {_named(models)}\n")
    return lines


def _named(models: dict[str, list[str]]) -> str:
    names = [name if len(modes) == 2 else f"{name} ({modes[0]})" for name, modes in models.items()]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _causes(row: dict[str, Any]) -> list[str]:
    if "cause" in row:
        return [_kind(row["cause"])]
    found: list[str] = []
    for what in ("output", "features"):
        result = row.get(what, ["equal", "equal"])
        for batch, each in zip((2, 3), result if isinstance(result, list) else [result], strict=False):
            if each != "equal":
                found.append(_kind(each) if each.startswith("GuardError") else f"{what}, batch {batch}: {_kind(each)}")
    if row.get("same_names") is False:
        found.append("names other than torchvision's")
    return list(dict.fromkeys(found))


def _kind(cause: str) -> str:
    """Returns what models with the same cause have in common: no class, no path, no number of theirs.

    >>> _kind("CaptureError: A cannot be exported: TypeError: none of it. Really | in the way")
    'TypeError: none of it'
    """
    decided = re.search(r'decides on data.*file "(?:.*/)?([^"/]*)", line \d+: ([^|]*)', cause)
    if decided:
        return f"decides on data: {decided[1]}: {decided[2].strip()}"
    if "targets should not be none" in cause:
        return "trains with targets alone"
    last = cause.rsplit(" | ", 1)[-1] if "cannot be traced" in cause else cause.split(" | ")[0]
    last = re.sub(r"^CaptureError: \w+ cannot be exported: ", "", last)
    return re.sub(r"Proxy\([^)]*\)", "Proxy", last.split(". ")[0])[:110].replace("`", "'")
