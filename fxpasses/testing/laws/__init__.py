"""The laws of graph passes: one class and one error type each."""
