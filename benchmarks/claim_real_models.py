"""Extractors of six real models are made at least 2.5 times faster than torchvision makes them, 5.5 times on average."""

from __future__ import annotations

from benchmarks.bench_extraction import real_against_torchvision
from benchmarks.table import Claim, Row, require
from benchmarks.timing import geometric_mean
from benchmarks.workloads import REAL_MODELS


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    rows = [real_against_torchvision(name) for name in REAL_MODELS]
    require(rows, Claim(at_least=2.5))
    require([Row("geometric mean", geometric_mean([row.value for row in rows]), rows[0].unit)], Claim(at_least=5.5))


if __name__ == "__main__":
    check()
