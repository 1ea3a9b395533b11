"""Runs benchmarks and prints one table.

python -m benchmarks                      every benchmark; torchvision takes an hour of it
python -m benchmarks --quick              sizes and models that take minutes
python -m benchmarks growth forward       some of them
python -m benchmarks --claims             what the README states, held against new measurements
python -m benchmarks --plot cost.svg      draws cost by size instead; needs matplotlib
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Reads the command line and runs what it asks for."""
    options = _parser().parse_args()
    warnings.simplefilter("ignore")
    if options.plot:
        _plot(options.plot, options.quick)
    elif options.claims:
        sys.exit(_claims(options.names))
    else:
        _table(options.names, options.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks", None, __doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(_found('bench'))}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer models")
    parser.add_argument("--claims", action="store_true", help="assert what the README states")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost by size into a file, such as cost.svg")
    return parser


def _found(kind: str) -> list[str]:
    return sorted(path.stem.removeprefix(f"{kind}_") for path in HERE.glob(f"{kind}_*.py"))


def _checked(kind: str, names: Iterable[str]) -> list[str]:
    found = _found(kind)
    unknown = sorted(set(names) - set(found))
    if unknown:
        sys.exit(f"no {kind} is called {', '.join(unknown)}; there are {', '.join(found)}")
    return list(names) or found


def _table(names: list[str], quick: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "what", "value", "unit", "detail", title="process time, medians of rounds side by side")
    for name in _checked("bench", names):
        for row in importlib.import_module(f"benchmarks.bench_{name}").rows(quick):
            print(f"{name}: {row.what}: {row.value:.3g} {row.unit}; {row.detail}", file=sys.stderr, flush=True)
            table.add_row(name, row.what, f"{row.value:.3g}", row.unit, row.detail)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _claims(names: list[str]) -> int:
    """Runs each claim in a process of its own, and returns how many are broken."""
    broken = [name for name in _checked("claim", names) if not _is_kept(name)]
    print(f"broken: {', '.join(broken) or 'none'}")
    return len(broken)


def _is_kept(name: str) -> bool:
    paths = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.claim_{name}"]
    print(f"{name}:", flush=True)
    return (
        subprocess.run(command, cwd=HERE.parent, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode == 0
    )


def _plot(path: Path, quick: bool) -> None:
    from benchmarks.plot import costs, draw

    sizes = (300, 900, 3_000, 9_000, 30_000)
    draw(costs(sizes[:3] if quick else sizes, 3_000 if quick else 9_000), path)


if __name__ == "__main__":
    main()
