"""The bugs that are planted in our own passes are still what they say, and a law finds each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted.own_bugs import BUGS
from planted.own_kill_matrix import rows, with_bug

LAWS = Path(__file__).parents[1] / "laws"
ALL = [(name, title) for name, bugs in BUGS.items() for title in bugs]


@pytest.mark.parametrize(("name", "title"), ALL)
def test_the_source_with_the_bug_is_python(name: str, title: str) -> None:
    compile(with_bug(BUGS[name][title]), title, "exec")


@pytest.mark.parametrize(("name", "title"), ALL)
def test_the_law_that_finds_it_exists(name: str, title: str) -> None:
    file, *path = BUGS[name][title].law.split("::")
    word = f"def {path[-1].partition('[')[0]}(" if len(path) == 1 else path[0]
    assert word in (LAWS / file).read_text(encoding="utf-8")


def test_every_pass_has_bugs_enough_and_nearly_all_are_found_soon() -> None:
    assert all(len(bugs) >= 8 for bugs in BUGS.values())
    found = {key: counts for key, counts in rows().items() if any(count.isdigit() for count in counts)}
    known = {(name, title, bug.law) for name, bugs in BUGS.items() for title, bug in bugs.items()}
    assert known == found.keys()
    tried = [count for counts in found.values() for count in counts if count != "?"]
    assert sum(count.isdigit() and int(count) <= 500 for count in tried) >= 0.95 * len(tried)
