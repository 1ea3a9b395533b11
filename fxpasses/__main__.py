"""Runs the shell: `python -m fxpasses`."""

from __future__ import annotations

import sys

from fxpasses.cli import main

if __name__ == "__main__":
    sys.exit(main())
