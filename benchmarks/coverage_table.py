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
LIBRARIES = ("torchvision", "timm", "transformers")
MODES = ("eval", "train")
BEGIN, END = "<!-- coverage: written by benchmarks/coverage.py table -->", "<!-- end of coverage -->"


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the summary, and after it what was not captured or differs, by cause."""
    groups: defaultdict[tuple[str, str, str], Rows] = defaultdict(list)
    for row in rows:
        for mode in MODES:
            groups[row["library"], row["capture"], mode].append((row["model"], row[mode]))
    lines = [_line(key, found) for key, found in sorted(groups.items())]
    return "".join(
        [
            _INTRODUCTION,
            summary(rows),
            '\n## Models that `capture="auto"` does not take\n\nWith example inputs, in that mode; the cause is that of tracing with values. Where detectors are given targets too, they decide on data:\ntheir `transform` draws the size of an image. `mode="eval"` makes an extractor of the mode that works.\n\n',
            *_refused(rows),
            "\n## Each capture\n\n",
            _HEAD,
            *lines,
            "\n## Exceptions, by cause\n",
            *_exceptions(groups),
        ]
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """Returns how many models each capture takes, as a table with a column for each library."""
    counts = [_Counts(library, rows) for library in LIBRARIES]
    lines = [
        ("models", [str(len(each.models)) for each in counts]),
        *(
            (f"tracing with values, in {mode} mode", [str(each.captured("values", mode)) for each in counts])
            for mode in MODES
        ),
        *((f'`capture="auto"`, in {mode} mode', [str(each.by_auto(mode)) for each in counts]) for mode in MODES),
        ("with values, output and features equal to the eager model's", [each.equal() for each in counts]),
        ("with values, named as by torchvision, of those that both take", [each.same_names() for each in counts]),
        ("torchvision's extractor, in eval mode", [each.peer("peer-torchvision") for each in counts]),
        ("timm's wrapper of it, in eval mode", [each.peer("peer-timm") for each in counts]),
    ]
    cells = [f"| {what} | {' | '.join(found)} |\n" for what, found in lines]
    return f"| | {' | '.join(LIBRARIES)} |\n|---|---|---|---|\n" + "".join(cells)


def summary_in(readme: str, rows: list[dict[str, Any]]) -> str:
    """Returns the text of the README with the summary of `rows` between its marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no {BEGIN} and {END}")
    return f"{before}{begin}\n{summary(rows)}{end}{after}"


class _Counts:
    """The rows of one library, counted."""

    def __init__(self, library: str, rows: list[dict[str, Any]]) -> None:
        self._rows = {(row["capture"], row["model"]): row for row in rows if row["library"] == library}
        self.models = list(dict.fromkeys(model for _, model in self._rows))

    def captured(self, capture: str, mode: str) -> int:
        return sum(self._is_captured(capture, mode, model) for model in self.models)

    def by_auto(self, mode: str) -> int:
        return len(self.models) - len(self.refused(mode))

    def refused(self, mode: str) -> list[str]:
        """Returns the models that neither of the captures takes that `auto` tries with examples."""
        return [
            model
            for model in self.models
            if not any(self._is_captured(capture, mode, model) for capture in ("values", "export"))
        ]

    def cause(self, mode: str, model: str) -> str:
        return _kind(self._row("values", model, mode).get("cause", "not measured"))

    def equal(self) -> str:
        found = [self._row("values", model, mode) for model in self.models for mode in MODES]
        captured = [row for row in found if "nodes" in row]
        return f"{sum(map(_is_equal, captured))} of {len(captured)}"

    def same_names(self) -> str:
        found = [self._row("values", model, mode) for model in self.models for mode in MODES]
        both = [row["same_names"] for row in found if "same_names" in row]
        return f"{sum(both)} of {len(both)}" if both else "none that both take"

    def peer(self, peer: str) -> str:
        measured = [model for model in self.models if (peer, model) in self._rows]
        if measured:
            count = sum(self._is_captured(peer, "eval", model) for model in measured)
            return str(count) if len(measured) == len(self.models) else f"{count} of {len(measured)}"
        if peer == "peer-torchvision" and any(
            "torchvision" in self._row("values", model, "eval") for model in self.models
        ):
            return str(sum(self._row("values", model, "eval").get("torchvision", False) for model in self.models))
        return ""

    def _is_captured(self, capture: str, mode: str, model: str) -> bool:
        return "nodes" in self._row(capture, model, mode)

    def _row(self, capture: str, model: str, mode: str) -> dict[str, Any]:
        return self._rows.get((capture, model), {}).get(mode, {})


def _is_equal(row: dict[str, Any]) -> bool:
    """Whether all is equal at both batch sizes, or the other one is refused by the guard."""
    return all(
        row[what][0] == "equal" and (row[what][1] == "equal" or row[what][1].startswith("GuardError"))
        for what in ("output", "features")
    )


def _refused(rows: list[dict[str, Any]]) -> list[str]:
    causes: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for library in LIBRARIES:
        counts = _Counts(library, rows)
        for mode in MODES:
            for model in counts.refused(mode):
                causes[library, mode, counts.cause(mode, model)].append(model)
    return [
        f"- {library}, {mode} mode, {len(models)}: `{cause}`: {', '.join(models)}\n"
        for (library, mode, cause), models in causes.items()
    ]


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
    compared = [row["nameable"] for row in captured if "nameable" in row]
    share = sum(compared) / len(compared)
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
