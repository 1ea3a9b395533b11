"""Graph-rewriting compiler passes for torch.fx, and a feature extractor that is right on every node."""

from __future__ import annotations
