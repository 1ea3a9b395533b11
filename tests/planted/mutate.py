"""Mutation testing: `python tests/planted/mutate.py [MINUTES] [NAME ...]`, all passes unless something is named.

Changes one thing at a time in a module (a comparison, a constant, a statement, …) and runs the tests that run that place,
until one fails. A name is that of a pass, of a module with its package, such as `graph.digraph`, or of a package:
`passes`, `graph` or `manager`. How the tests are chosen, and how a change is put in, is told in `trials.py`.

What has run is remembered in `mutants.jsonl` until the function changes, so that a run that was stopped goes on where it
was; each line there says which change it was and what found it. With `--survivors`, what nothing found is tried again,
and `--budget SECONDS` says how much processor time the tests of one change may take, 20 seconds if it is left out.
`mutants.md` is the summary: the score, and each change that nothing found; 0 MINUTES write it anew and try nothing.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted.changes import Mutant, mutants_of, names_in
from planted.forked import preload
from planted.results import PACKAGES, known, note, summarise
from planted.trials import Trials


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", nargs="?", type=float, default=60.0)
    parser.add_argument("names", nargs="*", default=["passes"])
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--budget", type=float, default=20.0)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    everything = {name: mutants_of(name) for package in PACKAGES for name in names_in(package)}
    waiting = _waiting(_in_turn(everything, options.names), options.survivors)
    if waiting and options.minutes:
        preload()
        trials = Trials(options.budget)
        for mutant in itertools.takewhile(lambda _: time.monotonic() < end, waiting):
            trial = trials.of(mutant)
            note(mutant, trial)
            print(f"{trial.seconds:5.1f} s  {mutant.name}:{mutant.line}: {mutant.what}: {trial}", flush=True)  # noqa: T201 - a command
        trials.close()
    summarise([mutant for each in everything.values() for mutant in each])


def _in_turn(everything: dict[str, list[Mutant]], names: list[str]) -> list[Mutant]:
    """The changes of what is named, one of each module in turn: a run that is stopped has looked at all of them."""
    chosen = dict.fromkeys(each for name in names for each in (names_in(name) if name in PACKAGES else [name]))
    return [each for row in itertools.zip_longest(*(everything[name] for name in chosen)) for each in row if each]


def _waiting(mutants: list[Mutant], survivors: bool) -> list[Mutant]:
    """Those that have not run; or those that have, and that nothing found."""
    done = known()
    if survivors:
        return [each for each in mutants if each.key in done and not done[each.key]["found_by"]]
    return [each for each in mutants if each.key not in done]


if __name__ == "__main__":
    main()
