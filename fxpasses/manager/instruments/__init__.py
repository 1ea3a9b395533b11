"""Instruments that watch a pipeline: one file each, none known to the manager."""
