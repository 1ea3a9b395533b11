"""The forward costs at most 1.02 of a hand-written truncated one, and at most what hooks with early exit cost."""

from __future__ import annotations

from benchmarks.bench_forward import layer2_of_resnet18
from benchmarks.table import Claim, require


def check() -> None:
    """Raises `AssertionError` if it is not so."""
    rows = list(layer2_of_resnet18())
    require([row for row in rows if row.what.endswith("/ hand-written")], Claim(at_most=1.02))
    require([row for row in rows if row.what.endswith("early exit")], Claim(at_most=1.0))


if __name__ == "__main__":
    check()
