"""Captures: from an `nn.Module` to a graph module that remembers where each node came from."""

from __future__ import annotations

from fxpasses.capture.symbolic import capture_symbolic

__all__ = ["capture_symbolic"]
