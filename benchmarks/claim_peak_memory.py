"""At 30,000 nodes, extracting takes at most half of the memory that torchvision takes."""

from __future__ import annotations

from benchmarks.bench_memory import peak
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require([peak(30_000)], Claim(at_most=0.5))


if __name__ == "__main__":
    check()
