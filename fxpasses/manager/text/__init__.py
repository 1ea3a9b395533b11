"""Pipelines as text: the grammar, passes, and the values of their options."""
