"""Which models each capture takes: torchvision's, timm's and transformers', one process a model, resumable.

    python benchmarks/coverage.py run --library torchvision --captures symbolic values
    python benchmarks/coverage.py run --library timm --captures peer-torchvision peer-timm
    python benchmarks/coverage.py table

`run` appends one line of JSON a model to the results and skips what is there; `table` writes coverage.md from them, and the
summary into the README.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coverage_table import LIBRARIES, summary_in, table

HERE = Path(__file__).parent
RESULTS = HERE / "coverage.jsonl"
README = HERE.parent / "README.md"


def main() -> None:
    """Runs one of the commands."""
    options = _parser().parse_args()
    if options.command == "one":
        _one(options.library, options.model, options.captures)
    elif options.command == "run":
        _run(options)
    else:
        rows = _read(options.results)
        (HERE / "coverage.md").write_text(table(rows), encoding="utf-8")
        README.write_text(summary_in(README.read_text(encoding="utf-8"), rows), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("one", help="measure one model in this process, and print the result as JSON")
    one.add_argument("library", choices=LIBRARIES)
    one.add_argument("model")
    run = commands.add_parser("run", help="measure every model that the results do not have yet")
    run.add_argument("--library", choices=LIBRARIES, action="append")
    run.add_argument("--models", nargs="*")
    run.add_argument("--time-limit", type=float, default=600.0, help="seconds for one model")
    for each in (one, run):
        each.add_argument("--captures", nargs="+", default=["symbolic", "values"])
    for each in (run, commands.add_parser("table", help="write coverage.md from the results")):
        each.add_argument("--results", type=Path, default=RESULTS)
    return parser


def _one(library: str, model: str, captures: list[str]) -> None:
    from coverage_case import measure

    print("RESULT " + json.dumps(_summary(measure(library, model, captures))))


def _run(options: argparse.Namespace) -> None:
    from coverage_models import model_names

    os.environ["HF_HUB_OFFLINE"] = "1"
    _load(options.library or LIBRARIES)
    done = {(row["library"], row["model"], row["capture"]) for row in _read(options.results)}
    todo = [
        (library, model, missing)
        for library in options.library or LIBRARIES
        for model in options.models or model_names(library)
        if (missing := [capture for capture in options.captures if (library, model, capture) not in done])
    ]
    for index, (library, model, captures) in enumerate(todo, 1):
        began = time.perf_counter()
        modes = _in_own_process(library, model, captures, options.time_limit)
        with options.results.open("a", encoding="utf-8") as results:
            for capture in captures:
                found = {mode: _of_capture(each, capture) for mode, each in modes.items()}
                results.write(json.dumps({"library": library, "model": model, "capture": capture, **found}) + "\n")
        print(f"{index}/{len(todo)} {library} {model}: {time.perf_counter() - began:.0f} s", flush=True)


def _of_capture(found: dict[str, Any], capture: str) -> dict[str, Any]:
    return found.get(capture) or {"cause": found.get("eager", "no result")}


def _in_own_process(library: str, model: str, captures: list[str], time_limit: float) -> dict[str, Any]:
    """Measures one model in a fork of this process, which has the libraries loaded already."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sending, library, model, captures))
    process.start()
    sending.close()
    try:
        if receiving.poll(time_limit):
            return receiving.recv()
        process.kill()
        return _reached(library, model, captures, f"more than {time_limit:.0f} s")
    except EOFError:
        return {mode: {"eager": "the process ended without a result"} for mode in ("eval", "train")}
    finally:
        process.kill()
        process.join()


def _reached(library: str, model: str, captures: list[str], instead: str) -> dict[str, Any]:
    """Returns at least whether the model is captured, where that takes no time to speak of."""
    from coverage_case import PEERS, reached

    if set(captures) & {*PEERS, "export"}:
        return {mode: {"eager": instead} for mode in ("eval", "train")}
    return reached(library, model, captures, instead)


def _measured(sending: Any, library: str, model: str, captures: list[str]) -> None:
    from coverage_case import measure

    try:
        sending.send(_summary(measure(library, model, captures)))
    except Exception as error:
        sending.send({mode: {"eager": f"{type(error).__name__}: {error}"[:300]} for mode in ("eval", "train")})


def _load(libraries: Iterable[str]) -> None:
    """Imports once what every model needs."""
    import coverage_case
    import tiny_transformers
    import torch

    del coverage_case
    torch.set_num_threads(1)
    for library in libraries:
        importlib.import_module(library)
    if "transformers" in libraries:
        tiny_transformers.load_classes()


def _summary(modes: dict[str, Any]) -> dict[str, Any]:
    """Replaces lists of names by whether they are torchvision's; arguments that no example passes do not count."""
    for found in modes.values():
        peer = found.pop("torchvision", None) or {}
        for capture, row in found.items():
            if isinstance(row, dict):
                names = row.pop("names", None)
                if capture.startswith("peer-"):
                    continue
                row["torchvision"] = "names" in peer
                if "names" in peer and names is not None:
                    row["same_names"] = [name for name in names if name in set(peer["names"])] == peer["names"]
    return modes


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
