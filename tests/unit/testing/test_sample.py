"""Models from a seed: the same everywhere, and of all kinds."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter

from fxpasses.testing.models.features import FEATURES
from fxpasses.testing.models.interpreter import interpret
from fxpasses.testing.models.sample import sample_spec

SOURCES = """
from fxpasses.testing.models.sample import sample_case
import hashlib
print(hashlib.sha256("".join(sample_case(seed).source for seed in range(60)).encode()).hexdigest())
"""


def test_the_same_seed_gives_the_same_model_in_every_process() -> None:
    digests: set[str] = set()
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "ignore", "-c", SOURCES]
        digests.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(digests) == 1


def test_every_feature_and_every_pair_of_features_occurs_often_enough() -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    total = 1500
    for seed in range(total):
        features = sorted(interpret(sample_spec(seed)).features)
        counts.update((feature,) for feature in features)
        counts.update(itertools.combinations(features, 2))
    rare = [feature for feature in FEATURES if counts[feature,] < 0.05 * total]
    assert rare == []
    rare_pairs = [pair for pair in itertools.combinations(sorted(FEATURES), 2) if counts[pair] < 0.005 * total]
    assert rare_pairs == []
