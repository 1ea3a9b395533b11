"""Random models without hypothesis: what operations there are, and how a list of bytes becomes a model."""
