"""Each wrong pass is found by the law that names its fault, and quickly."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted.kill_matrix import MATRIX, models_until_found
from planted.wrong_passes import PLANTED, name_by_a_set_of_strings

from fxpasses import testing as fxt
from fxpasses.testing.models.sample import sample_case
from fxpasses.testing.repro import Folder

# Those that need more models than a default run draws: two rare things must meet. The matrix shows after how many.
HARD = {
    name
    for line in MATRIX.read_text(encoding="utf-8").splitlines()[1:]
    for name, _law, *found in [line.split()]
    if int(found[0]) > 150
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "path", tmp_path)


@pytest.mark.parametrize("name", sorted(PLANTED.keys() - HARD))
def test_the_law_finds_the_wrong_pass(name: str) -> None:
    assert models_until_found(PLANTED[name], seed=0, limit=150) is not None


def test_the_matrix_knows_every_wrong_pass_and_each_is_found() -> None:
    rows = [line.split() for line in MATRIX.read_text(encoding="utf-8").splitlines()[1:]]
    assert {row[0]: row[1] for row in rows} == {name: wrong.law.name for name, wrong in PLANTED.items()}
    found = [[int(count) for count in row[2:]] for row in rows]
    within_400 = [count <= 400 for counts in found for count in counts]
    assert sum(within_400) >= 0.95 * len(within_400)


def test_a_pass_that_depends_on_the_hash_seed_is_found_in_two_processes() -> None:
    law = fxt.SameInEveryProcess()
    cases = [sample_case(seed) for seed in range(4)]
    with pytest.raises(fxt.SameInEveryProcessViolation, match="PYTHONHASHSEED"):
        law.check_many(name_by_a_set_of_strings, cases)
    law.check_many(PLANTED["drop_alpha"].pass_, cases)
