"""An extractor of a chain of 30,000 nodes is made at least 80 times faster than torchvision makes it."""

from __future__ import annotations

from benchmarks.bench_extraction import chain_against_torchvision_up_to
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require([chain_against_torchvision_up_to(30_000, times=85)], Claim(at_least=80))


if __name__ == "__main__":
    check()
