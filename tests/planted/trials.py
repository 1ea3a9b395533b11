"""Tries changes, each with the tests that run its place: the likely ones first, and the quick ones before the slow.

A change in a function is put into the functions of a process that has collected all tests, in a fork of it. What runs
once, while modules are imported or tests are collected, is tried in a fork that imports and collects anew: the default of
a field, a table of a module, and whatever fills such a table, where the first way found nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from planted.changes import Mutant
from planted.collected import Collected
from planted.forked import run_tests
from planted.reached import Reached, known, remember
from planted.users import importers, users

EXAMPLES = 12


class Trial(NamedTuple):
    """What came of a change.

    Attributes:
        found_by: The test that failed; empty if none did.
        tried: How many tests ran.
        reaching: How many run the place of the change.
        seconds: The processor time.
    """

    found_by: str
    tried: int
    reaching: int
    seconds: float

    def __str__(self) -> str:
        return self.found_by or f"NOT FOUND by {self.tried} of {self.reaching} tests"


class Trials:
    """What one run of mutation testing knows: the tests, what they reach, and which of them found something so far."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._reached = known() or find_out()
        self._collected = Collected(EXAMPLES)
        # By module, place in it, and test.
        self._found: Counter[tuple[str, int, int]] = Counter()
        self._tried: Counter[tuple[str, int, int]] = Counter()

    def of(self, mutant: Mutant) -> Trial:
        """Tries a change."""
        place = mutant.place
        trial = self._in_functions(mutant) if place.in_function else None
        once = trial is None or self._reached.is_early(mutant.module, *place.lines)
        if trial is not None and (trial.found_by or not once):
            return trial
        return self._imported(mutant, trial or Trial("", 0, 0, 0.0))

    def close(self) -> None:
        """Ends the process that has collected the tests."""
        self._collected.close()

    def _in_functions(self, mutant: Mutant) -> Trial | None:
        """Tries a change in the functions that exist; None if that is impossible."""
        tests = self._in_order(mutant, [(mutant.module, mutant.place.lines)])
        if not tests:
            return Trial("", 0, 0, 0.0)
        names, seconds = self._named(tests), [self._reached.seconds[test] for test in tests]
        answer = self._collected.run(names, seconds, mutant.code(), self._budget)
        if answer.get("impossible"):
            return None
        self._remember(mutant, tests[: answer["tried"]], bool(answer["found_by"]))
        return Trial(_short(answer["found_by"]), answer["tried"], len(tests), answer["seconds"])

    def _imported(self, mutant: Mutant, before: Trial) -> Trial:
        """Tries a change in a process that imports it, with the tests of all that may depend on it."""
        spans = [(mutant.module, mutant.place.lines), *users(mutant.module, mutant.tree.body[mutant.place.top])]
        spans += importers(mutant.module)
        # A doctest is collected by loading the very file that it is in.
        tests = [test for test in self._in_order(mutant, spans) if self._reached.tests[test].startswith("tests/")]
        spent = itertools.accumulate(self._reached.seconds[test] for test in tests)
        chosen = [test for test, sum_ in zip(tests, spent, strict=True) if sum_ <= self._budget] or tests[:1]
        if not chosen:
            return before
        names = self._named(chosen)
        files = list(dict.fromkeys(name.partition("::")[0] for name in names))
        run = run_tests(mutant.module, mutant.code(), files, limit=EXAMPLES, timeout=120, only=names)
        found_by = (_failed(run.text) or "it does not end, or does not import") if run.found else ""
        return Trial(found_by, len(chosen), max(before.reaching, len(tests)), before.seconds + run.seconds)

    def _in_order(self, mutant: Mutant, spans: Iterable[tuple[str, tuple[int, int]]]) -> list[int]:
        """The tests that run some lines, by how much time they are expected to take for each change that they find."""

        def cost(test: int) -> float:
            key = (mutant.name, mutant.place.top, test)
            prior = _likelihood(self._reached.tests[test], mutant.name)
            return (0.01 + self._reached.seconds[test]) * (self._tried[key] + 1) / (self._found[key] + prior)

        return sorted(self._reached.running(spans), key=cost)

    def _remember(self, mutant: Mutant, tests: list[int], found: bool) -> None:
        keys = [(mutant.name, mutant.place.top, test) for test in tests]
        self._tried.update(keys)
        if found:
            self._found[keys[-1]] += 1

    def _named(self, tests: list[int]) -> list[str]:
        return [self._reached.tests[test] for test in tests]


def find_out() -> Reached:
    """Runs every test, each in a process of its own, to see what it reaches."""
    collected = Collected(EXAMPLES, trace=True)
    runs: dict[str, dict[str, Any]] = {}
    for test in collected.tests:
        if len(runs) % 100 == 0:
            _say(f"what the tests reach: {len(runs)} of {len(collected.tests)}")
        runs[test] = collected.run([test], [60.0], None, 0.0)
    collected.close()
    reached = remember(collected.early, runs)
    _say(f"left out, for they fail by themselves: {', '.join(reached.failing) or 'none'}")
    return reached


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


def _likelihood(test: str, name: str) -> float:
    """How likely it is that a test finds a change of a module, as far as their names tell: is it about that module?"""
    parts = name.split(".")[-3:]
    return 0.03 + 0.4 * sum(f"/test_{part}" in test or f"/{part}.py" in test or f"/{part}/" in test for part in parts)


def _short(test: str) -> str:
    return test.rpartition("::")[2]


def _failed(text: str) -> str:
    """The first test that failed, as pytest tells it."""
    lines = [line.partition(" - ")[0] for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return _short(lines[0].split(" ", 1)[1]) if lines else ""
