"""An extractor costs at most 0.8 of two bare traces where the mode cannot matter, and at most 1.4 elsewhere."""

from __future__ import annotations

from benchmarks.bench_extraction import against_traces, real_against_traces
from benchmarks.table import Claim, require
from benchmarks.workloads import REAL_MODELS


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    rows = [real_against_traces(name) for name in REAL_MODELS]
    rows += against_traces(["chain", "chain with modes"], 3_000)
    require([row for row in rows if "no mode" in row.detail], Claim(at_most=0.8))
    require([row for row in rows if "no mode" not in row.detail], Claim(at_most=1.4))


if __name__ == "__main__":
    check()
