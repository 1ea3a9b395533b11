"""An extractor of a chain of 9,000 nodes is made at least 25 times faster than torchvision makes it."""

from __future__ import annotations

from benchmarks.bench_extraction import chain_against_torchvision
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require([chain_against_torchvision(9_000)], Claim(at_least=25))


if __name__ == "__main__":
    check()
