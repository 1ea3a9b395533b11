"""Specs drawn from a seed, without hypothesis: for benchmarks, and for programs that want one random model."""

from __future__ import annotations

import random
from collections.abc import Collection
from functools import partial

from fxpasses.testing.case import Case
from fxpasses.testing.models.build_graph import build_graph
from fxpasses.testing.models.features import ALL, EVERYTHING, LARGEST_MASK, disabled_by
from fxpasses.testing.models.interpreter import INPUT, OUTPUT, STATEMENT, Limits, Spec, interpret
from fxpasses.testing.models.render import render
from fxpasses.testing.models.scope import POOLS


def sample_spec(seed: int, *, mean_statements: int = 18, features: Collection[str] = ALL) -> Spec:
    """A spec drawn from a seed: the same in every process.

    Example:
        >>> sample_spec(7) == sample_spec(7)
        True
    """
    source = random.Random(seed)

    def drawn(mean: float, size: int) -> list[bytes]:
        return [source.randbytes(size) for _ in range(int(min(source.expovariate(1 / mean), 5 * mean)))]

    swarm = 0 if source.random() < 0.5 else source.getrandbits(len(EVERYTHING)) & source.getrandbits(len(EVERYTHING))
    disabled = (swarm | disabled_by(features)) & LARGEST_MASK
    return Spec(
        inputs=drawn(1.5, INPUT),
        statements=drawn(mean_statements, STATEMENT),
        outputs=drawn(1.0, OUTPUT),
        disabled=disabled,
        pool=source.randrange(len(POOLS)),
        training=source.random() < 0.5,
    )


def sample_case(seed: int, *, features: Collection[str] = ALL, limits: Limits | None = None) -> Case:
    """A case drawn from a seed.

    Example:
        >>> sample_case(7) == sample_case(7)
        True
    """
    spec = sample_spec(seed, features=features)
    program = interpret(spec, limits)
    make_graph = partial(build_graph, program, training=spec.training)
    return Case(render(program, training=spec.training), program.features, make_graph)
