"""Which test runs which line of fxpasses, and for how long: found out once, each test in a process of its own."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from planted.forked import ROOT

FOLDER = ROOT / ".pytest_cache" / "reached"
Lines = dict[str, set[int]]


class Tracing:
    """Notes which lines of fxpasses run; Python calls it for each function that begins."""

    def __init__(self) -> None:
        self._prefix = str(ROOT / "fxpasses")
        self._files: dict[str, tuple[set[int], Callable[..., Any]] | None] = {}
        self._codes: dict[int, tuple[CodeType, set[int]]] = {}
        self.lines: Lines = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        try:
            known = self._files[code.co_filename]
        except KeyError:
            known = self._files[code.co_filename] = self._new_file(code.co_filename)
        if known is None:
            return None
        seen, note = known
        seen.add(frame.f_lineno)
        return None if self._lines_of(code) <= seen else note

    def _lines_of(self, code: CodeType) -> set[int]:
        known = self._codes.get(id(code))
        if known is None:
            # The code is kept with its lines, so that its id stays its own.
            known = self._codes[id(code)] = (code, {line for *_, line in code.co_lines() if line})
        return known[1]

    def _new_file(self, name: str) -> tuple[set[int], Callable[..., Any]] | None:
        if not name.startswith(self._prefix):
            return None
        module = ".".join(Path(name).relative_to(ROOT).with_suffix("").parts)
        seen = self.lines.setdefault(module, set())

        def note(frame: FrameType, event: str, arg: object) -> Any:
            seen.add(frame.f_lineno)
            return note

        return seen, note


class Reached(NamedTuple):
    """What the tests run as long as nothing is changed.

    Attributes:
        tests: Their node ids; those that fail in a process of their own are left out.
        seconds: How much processor time each takes.
        lines: By module and line, the places in `tests` of those that run it.
        early: By module, the lines that run while modules are imported and tests are collected.
        failing: The tests that were left out.
    """

    tests: list[str]
    seconds: list[float]
    lines: dict[str, dict[int, list[int]]]
    early: dict[str, set[int]]
    failing: list[str]

    def running(self, spans: Iterable[tuple[str, tuple[int, int]]]) -> set[int]:
        """The places of the tests that run one of these lines, each given by a module, and its first and last line."""
        return {
            test
            for module, (first, last) in spans
            for line in range(first, last + 1)
            for test in self.lines.get(module, {}).get(line, ())
        }

    def is_early(self, module: str, first: int, last: int) -> bool:
        """Whether one of these lines runs before any test does."""
        return not self.early.get(module, set()).isdisjoint(range(first, last + 1))


def known() -> Reached | None:
    """What was found out before of the same sources."""
    file = _file()
    if not file.exists():
        return None
    tests, seconds, lines, early, failing = json.loads(file.read_text(encoding="utf-8"))
    by_line = {module: {int(line): found for line, found in each.items()} for module, each in lines.items()}
    return Reached(tests, seconds, by_line, {module: set(each) for module, each in early.items()}, failing)


def remember(early: Lines, runs: dict[str, dict[str, Any]]) -> Reached:
    """Writes down what was found out, by node id: how long a test takes, whether it fails, and the lines that it runs."""
    passing = [name for name, run in runs.items() if not run["found_by"]]
    lines: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, name in enumerate(passing):
        for module, numbers in runs[name]["lines"].items():
            for line in sorted(numbers):
                lines[module][line].append(place)
    found = Reached(
        passing,
        [round(runs[name]["alone"], 4) for name in passing],
        lines,
        early,
        [name for name in runs if name not in set(passing)],
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    _file().write_text(json.dumps(found, default=sorted), encoding="utf-8")
    return found


def _file() -> Path:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(
        [*ROOT.glob("fxpasses/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("tests/golden/**/*.txt")]
    ):
        if path.parent.name != "planted":
            digest.update(path.read_bytes())
    return FOLDER / f"{digest.hexdigest()[:16]}.json"
