"""Every stage grows with the size of the graph by an exponent of at most 1.1, from 1,000 to 100,000 nodes."""

from __future__ import annotations

from benchmarks.bench_growth import CONTROL, rows
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require((row for row in rows() if CONTROL not in row.what), Claim(at_most=1.1))


if __name__ == "__main__":
    check()
