"""Importing fxpasses takes at most 50 ms beyond torch."""

from __future__ import annotations

from benchmarks.bench_import import of_statement
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require([of_statement("import fxpasses")], Claim(at_most=50))


if __name__ == "__main__":
    check()
