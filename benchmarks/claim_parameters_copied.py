"""Extracting copies no parameter."""

from __future__ import annotations

from benchmarks.bench_memory import bytes_copied
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    require([bytes_copied(name) for name in ("resnet50", "vit_b_16", "densenet201")], Claim(at_most=0))


if __name__ == "__main__":
    check()
