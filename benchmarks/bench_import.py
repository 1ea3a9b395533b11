"""What `import fxpasses` costs beyond `import torch`, in fresh processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row

_SCRIPT = """
import json, sys, time
import torch
began = time.process_time()
{statement}
seconds = time.process_time() - began
print(json.dumps([seconds, sorted(set(sys.modules) & {{"networkx", "torchvision"}})]))
"""
STATEMENTS = (
    "import fxpasses",
    "from fxpasses import create_feature_extractor, get_graph_node_names",
    "import fxpasses; [getattr(fxpasses, name) for name in fxpasses.__all__]",
)


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields the import alone, and with the names that are imported when they are first used."""
    for statement in STATEMENTS[: 2 if quick else None]:
        yield of_statement(statement)


def of_statement(statement: str, rounds: int = 5) -> Row:
    """Returns the median of several processes, one after the other."""
    found = [_one(statement) for _ in range(rounds)]
    slow = found[0][1]
    detail = f"also loads {', '.join(slow)}" if slow else "loads neither networkx nor torchvision"
    return Row(statement, statistics.median(seconds for seconds, _ in found) * 1000, "ms", detail)


def _one(statement: str) -> tuple[float, list[str]]:
    command = [sys.executable, "-c", _SCRIPT.format(statement=statement)]
    root = Path(__file__).parents[1]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    seconds, loaded = json.loads(output)
    return seconds, loaded
