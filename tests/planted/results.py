"""What came of the changes: remembered change by change, and told module by module."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from planted.changes import Mutant
from planted.trials import Trial

HERE = Path(__file__).parent
RESULTS, SUMMARY, CLASSES = HERE / "mutants.jsonl", HERE / "mutants.md", HERE / "survivors.json"
PACKAGES = ("passes", "graph", "manager")
Entry = dict[str, Any]


def known() -> dict[str, Entry]:
    """What has run already, by the mutant's key; the last time counts."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def note(mutant: Mutant, trial: Trial) -> None:
    """Remembers what came of a change."""
    entry: Entry = {"key": mutant.key, "pass": mutant.name, "line": mutant.line, "what": mutant.what}
    entry["found_by"] = trial.found_by
    if not trial.found_by:
        entry["tests"] = [trial.tried, trial.reaching]
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def summarise(mutants: list[Mutant]) -> None:
    """Writes the summary of what has run of these, and forgets what was changed since."""
    keys = {mutant.key for mutant in mutants}
    kept = [entry for key, entry in known().items() if key in keys]
    kept.sort(key=lambda entry: (entry["pass"], entry["line"], entry["what"]))
    RESULTS.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept), encoding="utf-8")
    classes: dict[str, str] = json.loads(CLASSES.read_text(encoding="utf-8")) if CLASSES.exists() else {}
    lines = ["# Changes of the source, and what finds them", "", "Made by `python tests/planted/mutate.py`."]
    lines += [*_table(mutants, kept, classes), *_survivors(kept, classes)]
    SUMMARY.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(mutants: list[Mutant], entries: list[Entry], classes: dict[str, str]) -> list[str]:
    """A row for each module, and one for all of a package."""
    totals = Counter(mutant.name for mutant in mutants)
    results: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        results[entry["pass"]].append(entry)
    lines: list[str] = []
    for package in PACKAGES:
        names = [name for name in totals if _package(name) == package]
        lines += ["", f"| {package} | changes | tried | found | same behaviour | score |", "|---|---|---|---|---|---|"]
        lines += [_row(name.removeprefix(f"{package}."), totals[name], results[name], classes) for name in names]
        everything = [entry for name in names for entry in results[name]]
        lines.append(_row(f"**all of `{package}`**", sum(totals[name] for name in names), everything, classes))
    return lines


def _row(title: str, total: int, entries: list[Entry], classes: dict[str, str]) -> str:
    found = sum(bool(entry["found_by"]) for entry in entries)
    same = sum(not entry["found_by"] and classes.get(_label(entry), "").startswith("same") for entry in entries)
    score = f"{100 * found / (len(entries) - same):.1f} %" if len(entries) > same else "-"
    return f"| {title} | {total} | {len(entries)} | {found} | {same} | {score} |"


def _survivors(entries: list[Entry], classes: dict[str, str]) -> list[str]:
    """What nothing found, module by module, each change with the reason if one is known."""
    lines = [
        "",
        "## What nothing finds",
        "",
        "`3 of 40 tests` ran, of those that run the place, within the time there was.",
    ]
    survivors = [entry for entry in entries if not entry["found_by"]]
    for name in dict.fromkeys(entry["pass"] for entry in survivors):
        lines += ["", f"### {name}", "", "| line | change | why |", "|---|---|---|"]
        for entry in survivors:
            if entry["pass"] == name:
                change = entry["what"].replace("|", "¦").replace("`", "'")
                lines.append(f"| {entry['line'] or ''} | `{change}` | {_why(entry, classes)} |")
    return lines


def _why(entry: Entry, classes: dict[str, str]) -> str:
    tried, reaching = entry.get("tests", (0, 0))
    unknown = f"{tried} of {reaching} tests" if reaching else "no test runs it"
    return classes.get(_label(entry), unknown)


def _label(entry: Entry) -> str:
    return f"{entry['pass']}: {entry['what']}"


def _package(name: str) -> str:
    return name.partition(".")[0] if "." in name else "passes"
