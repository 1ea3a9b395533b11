"""What a benchmark found, as rows of one table, and what is claimed of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One number: of what, in which unit, and the figures behind it."""

    what: str
    value: float
    unit: str
    detail: str = ""


class Claim(NamedTuple):
    """What the README says about a number, as bounds that include their ends."""

    at_least: float = 0.0
    at_most: float = float("inf")

    def holds(self, row: Row) -> bool:
        """Whether a row keeps the claim.

        >>> Claim(at_most=1.4).holds(Row("resnet50", 0.7, "times two bare traces"))
        True
        """
        return self.at_least <= row.value <= self.at_most

    def __str__(self) -> str:
        bounds = [f"at least {self.at_least:g}"] * (self.at_least > 0)
        return " and ".join(bounds + [f"at most {self.at_most:g}"] * (self.at_most < float("inf")))


def require(rows: Iterable[Row], claim: Claim) -> None:
    """Prints the rows, and raises `AssertionError` for those that do not keep the claim."""
    broken: list[str] = []
    for row in rows:
        print(f"{row.what}: {row.value:.3g} {row.unit} (claimed: {claim}) {row.detail}", flush=True)
        if not claim.holds(row):
            broken.append(row.what)
    assert not broken, f"not {claim}: {', '.join(broken)}"


def milliseconds(seconds: float) -> str:
    """Spells a duration.

    >>> milliseconds(0.01234)
    '12.3 ms'
    """
    return f"{seconds * 1000:.3g} ms" if seconds < 10 else f"{seconds:.0f} s"
