"""How many models each capture takes, in minutes: models without weights are captured, and nothing is run.

    python benchmarks/coverage_reach.py timm values symbolic
    python benchmarks/coverage_reach.py torchvision values

What the graphs compute is `coverage.py`'s to show.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import torch
from coverage_models import build_without_weights, candidates, model_names
from torch import nn

from fxpasses.errors import FxpassesError
from fxpasses.feature_extraction.captures import Examples, capture_by


def main() -> None:
    """Prints each model that is not captured, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("torchvision", "timm", "transformers"))
    parser.add_argument("captures", nargs="+", choices=("symbolic", "values", "export"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = model_names(options.library)
    seconds: dict[tuple[str, str], list[float]] = {}
    for name in names:
        model = build_without_weights(options.library, name)
        for capture in options.captures:
            for mode in ("eval", "train"):
                found = _captured(options.library, name, model, capture, mode)
                if isinstance(found, float):
                    seconds.setdefault((capture, mode), []).append(found)
                else:
                    print(f"{name}, {capture}, {mode}: {found}", flush=True)
    for (capture, mode), found in seconds.items():
        print(
            f"{options.library}, {capture}, {mode}: {len(found)} of {len(names)} models; "
            f"median {statistics.median(found):.3f} s, longest {max(found):.1f} s"
        )


def _captured(library: str, name: str, model: nn.Module, capture: Any, mode: str) -> float | str:
    """Returns the seconds that it took with the first inputs that fit, or the first line of what stopped it."""
    device = next(model.parameters()).device
    failure = "no inputs"
    for make in candidates(library, name, model):
        with torch.device(device):
            inputs = make(2)
        began = time.process_time()
        try:
            capture_by(capture, model, mode == "train", Examples(inputs.args, inputs.kwargs))
        except FxpassesError as error:
            failure = str(error).splitlines()[0]
        else:
            return time.process_time() - began
    return failure


if __name__ == "__main__":
    main()
