"""An extractor switches between train and eval mode at least 500 times faster than torchvision's."""

from __future__ import annotations

from benchmarks.bench_modes import rows
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require(rows(), Claim(at_least=500))


if __name__ == "__main__":
    check()
