"""Writes down which law finds which wrong pass, and after how many models: `python tests/planted/kill_matrix.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from planted.wrong_passes import PLANTED, Wrong

from fxpasses import testing as fxt
from fxpasses.errors import LawViolation
from fxpasses.testing.models.sample import sample_case

SEEDS = (0, 1, 2)
MATRIX = Path(__file__).with_name("kill_matrix.txt")


def models_until_found(wrong: Wrong, seed: int, limit: int) -> int | None:
    """How many models it takes until the law that must find the pass does; None if it does not."""
    for index in range(limit):
        try:
            fxt.check_pass(wrong.pass_, sample_case(seed * 1_000_000 + index), laws=[wrong.law])
        except LawViolation as violation:
            if type(violation) is wrong.law.violation:
                return index + 1
    return None


def main() -> None:
    torch.set_num_threads(1)
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    lines = [f"{'wrong pass':42}{'law':20}{'models until it is found, by seed'}"]
    for name, wrong in PLANTED.items():
        found = [models_until_found(wrong, seed, limit) for seed in SEEDS]
        lines.append(f"{name:42}{wrong.law.name:20}{' '.join(f'{count or chr(45):>6}' for count in found)}")
        print(lines[-1], flush=True)  # noqa: T201 - a command
    MATRIX.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
