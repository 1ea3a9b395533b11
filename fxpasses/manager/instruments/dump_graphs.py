"""`DumpGraphs` and `PrintChanges`: the graph after each change, in numbered files or as a diff on the screen."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TextIO

from torch import fx

from fxpasses.graph.line_diff import changed_lines
from fxpasses.graph.spelling import lines_of
from fxpasses.graph.state import GraphColumns
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.needs import place_text

_COLOURS = {"-": "\x1b[31m", "+": "\x1b[32m", "@": "\x1b[36m"}
_PLAIN = "\x1b[0m"


class DumpGraphs(Instrument):
    """Writes the graph to a file after each pass that changed it, and what changed to another.

    The files are `000-input.txt`, `001-name-of-the-pass.txt`, `001-name-of-the-pass.diff` and so on, where the number
    counts the passes that ran. What a pass leaves behind when it fails is written, too.

    Args:
        directory: Where to write; it is made if it is not there.

    Example:
        >>> import tempfile
        >>> from fxpasses.manager import PassManager
        >>> def swap(graph_module):
        ...     list(graph_module.graph.nodes)[1].args = (1, 2)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     manager = PassManager([swap], instruments=[DumpGraphs(directory)])
        ...     _ = manager(fx.symbolic_trace(lambda x: x + 1))
        ...     sorted(path.name for path in Path(directory).iterdir())
        ['000-input.txt', '001-swap.diff', '001-swap.txt']
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._count = 0

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Writes the graph as it is given."""
        self._count = 0
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write("input.txt", lines_of(GraphColumns.of(graph_module.graph)))

    def after_pass(self, step: Step) -> None:
        """Writes the graph if it is another one than before."""
        self._count += 1
        if step.after is not step.before:
            name = _file_name(step)
            self._write(f"{name}.txt", lines_of(step.after.columns))
            self._write(f"{name}.diff", changed_lines(step.before.columns, step.after.columns))

    def after_failure(self, step: Step, error: Exception) -> None:
        """Writes what the pass left behind."""
        if step.result is None:
            self._count += 1
        left = GraphColumns.of(step.graph_module.graph)
        why = f"{type(error).__name__}: {error}".splitlines()
        self._write(f"{_file_name(step)}.failed.txt", [*lines_of(left), "", *(f"# {line}" for line in why)])

    def _write(self, name: str, lines: list[str]) -> None:
        (self.directory / f"{self._count:03}-{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _file_name(step: Step) -> str:
    return re.sub(r"[^\w.-]+", "-", step.name).strip("-")[:60]


class PrintChanges(Instrument):
    """Prints what each pass changed, as a diff of the lines that are different; coloured on a terminal.

    Args:
        file: Where to print; the standard output if not given.

    Example:
        >>> from fxpasses.manager import PassManager
        >>> def swap(graph_module):
        ...     list(graph_module.graph.nodes)[1].args = (1, 2)
        >>> _ = PassManager([swap], instruments=[PrintChanges()])(fx.symbolic_trace(lambda x: x + 1))
        --- before swap (pass 1)
        +++ after swap (pass 1)
          x = placeholder[x]()
        - add = call_function[add](x, 1)
        + add = call_function[add](1, 2)
          output = output[output](add)
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file

    def after_pass(self, step: Step) -> None:
        """Prints what is different, if anything is."""
        lines = changed_lines(step.before.columns, step.after.columns) if step.after is not step.before else []
        if not lines:
            return
        file = self.file or sys.stdout
        which = f"{step.name} (pass {place_text(step.position)})"
        for line in (f"--- before {which}", f"+++ after {which}", *lines):
            colour = _COLOURS.get(line[0]) if file.isatty() else None
            file.write(f"{colour}{line}{_PLAIN}\n" if colour else f"{line}\n")
