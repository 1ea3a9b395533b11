"""The parts of an export capture: arguments, calls, blocks, outputs and the graph itself."""
