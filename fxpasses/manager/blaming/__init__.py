"""Which pass of a pipeline is wrong, and a script that shows it."""
