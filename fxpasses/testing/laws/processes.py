"""The law that a pass gives the same result in every process, which takes two processes to see."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fxpasses.errors import LawViolation
from fxpasses.testing.case import Case
from fxpasses.testing.laws.law import FIRED, Law, PassLike, Trial, name_of

_PROGRAM = """
import base64, pickle, sys
import torch
torch.set_num_threads(1)
from torch import fx
from fxpasses.testing.case import Case
from fxpasses.testing.laws.fingerprint import program_of
from fxpasses.testing.laws.law import transform
pass_, sources = pickle.loads(base64.b64decode(sys.stdin.read()))
pass_ = pickle.loads(pass_)
programs = [program_of(transform(pass_, fx.symbolic_trace(Case(source).module)).graph_module) for source in sources]
print(base64.b64encode(pickle.dumps(programs)).decode())
"""


class SameInEveryProcessViolation(LawViolation):
    """A pass whose result depends on the process, such as on the order of a set of strings."""


@dataclass(frozen=True)
class SameInEveryProcess(Law):
    """Two processes with different hash seeds give equal graphs, names included.

    A process takes seconds to start, so `check_many` looks at many cases at once. The pass must be picklable.

    Attributes:
        hash_seeds: The values of `PYTHONHASHSEED`, one a process.
    """

    hash_seeds: tuple[int, ...] = (0, 1)
    violation: ClassVar = SameInEveryProcessViolation
    aspects: ClassVar = ("compared",)

    def check(self, trial: Trial) -> None:
        """Raise `SameInEveryProcessViolation` unless the law holds for a generated case; others are not looked at."""
        if isinstance(trial.subject.origin, Case):
            self.check_many(trial.pass_, [trial.subject.origin])

    def check_many(self, pass_: PassLike, cases: Sequence[Case]) -> None:
        """Raise `SameInEveryProcessViolation` unless the law holds for all of these cases."""
        pickled = pickle.dumps((pickle.dumps(pass_), [case.source for case in cases]))
        results = [_programs(base64.b64encode(pickled), seed) for seed in self.hash_seeds]
        for case, *programs in zip(cases, *results, strict=True):
            if any(program != programs[0] for program in programs):
                raise SameInEveryProcessViolation(
                    f"SameInEveryProcess: {name_of(pass_)} gives another graph where PYTHONHASHSEED is another one\n"
                    f"{programs[0]}\n{programs[1]}\nmodel:\n{case.source}"
                )
        FIRED[self.name, "compared"] += len(cases)


def _programs(task: bytes, hash_seed: int) -> list[Any]:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM]
    done = subprocess.run(command, input=task, capture_output=True, check=False, env=environment)
    if done.returncode:
        raise SameInEveryProcessViolation(f"a process of its own fails:\n{done.stderr.decode()[-2000:]}")
    return pickle.loads(base64.b64decode(done.stdout.split()[-1]))
