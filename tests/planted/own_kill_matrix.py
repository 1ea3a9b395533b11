"""Writes down which law finds which bug in our own passes: `python tests/planted/own_kill_matrix.py [LIMIT] [PASS ...]`.

A row is kept as long as the bug and its law stay the same, so that a run that was stopped goes on where it was: `?` has
not run, and `-` was not found within the limit, which a further run tries again.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from planted.forked import preload, run_tests, source_of
from planted.own_bugs import BUGS, Bug

SEEDS = (0, 1, 2)
MATRIX = Path(__file__).with_name("own_kill_matrix.txt")
HEAD = f"{'pass':10}{'bug':44}{'law':92}{'examples until it is found, by seed'}"


def with_bug(bug: Bug) -> str:
    """The source of the bug's module with the bug in it."""
    source = source_of(bug.module).read_text(encoding="utf-8")
    if source.count(bug.old) != 1:
        raise ValueError(f"{bug.module} holds {bug.old!r} {source.count(bug.old)} times: say which one is meant")
    return source.replace(bug.old, bug.new)


def examples_until_found(bug: Bug, seed: int, limit: int) -> int | None:
    """How many examples it takes until the law finds the bug; None if it does not within the limit."""
    run = run_tests(bug.module, with_bug(bug), [f"tests/laws/{bug.law}"], seed=seed, limit=limit)
    return max(run.examples, 1) if run.code == 1 else None


def rows() -> dict[tuple[str, ...], list[str]]:
    """What the matrix says: by pass, bug and law, the numbers of examples."""
    lines = MATRIX.read_text(encoding="utf-8").splitlines()[1:] if MATRIX.exists() else []
    return {tuple(line.split()[:3]): line.split()[3:] for line in lines}


def write(known: dict[tuple[str, ...], list[str]]) -> None:
    """Writes the rows of the bugs that there are, in their order."""
    lines = [HEAD]
    for name, bugs in BUGS.items():
        for title, bug in bugs.items():
            found = known.get((name, title, bug.law))
            if found is not None:
                lines.append(f"{name:10}{title:44}{bug.law:92}{' '.join(f'{count:>5}' for count in found)}")
    MATRIX.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    chosen = sys.argv[2:] or list(BUGS)
    known = rows()
    preload()
    # One seed after the other, so that a run that is stopped has looked at every bug.
    for place, seed in enumerate(SEEDS):
        for name, title, bug in [(each, *item) for each in chosen for item in BUGS[each].items()]:
            found = known.setdefault((name, title, bug.law), ["?"] * len(SEEDS))
            if found[place] not in ("?", "-"):
                continue
            found[place] = str(examples_until_found(bug, seed, limit) or "-")
            print(name, title, bug.law, *found, flush=True)  # noqa: T201 - a command
            write(known)


if __name__ == "__main__":
    main()
