"""Which nodes write, what shares memory with what, and what else running a node does."""

from fxpasses.graph.effects.analysis import Effects, analyze_effects

__all__ = ["Effects", "analyze_effects"]
