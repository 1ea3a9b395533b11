"""Property tests for graph transforms."""

from __future__ import annotations

from fxpasses.testing.case import Case

__all__ = ["Case"]
