"""What guards cost: the check at each call, and the first one of a new size, beside the forward."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.table import Row, milliseconds
from benchmarks.timing import process_seconds
from fxpasses import create_feature_extractor, get_graph_node_names

MODELS = {"mobilevit_xxs": 128, "twins_svt_small": 128, "pvt_v2_b0": 128, "swin_tiny_patch4_window7_224": 224}
CALLS = 2000


def rows(quick: bool = False) -> Iterator[Row]:
    """Yields models of timm that decide on sizes."""
    for name in list(MODELS)[: 1 if quick else None]:
        yield from check(name, MODELS[name])


def check(name: str, size: int, rounds: int = 5) -> Iterator[Row]:
    """Yields the cost of the guards of a whole model, for a size that was seen before and for new batch sizes."""
    import timm

    model = timm.create_model(name, pretrained=False).eval()
    x = torch.randn(1, 3, size, size)
    last = get_graph_node_names(model, mode="eval", example_inputs=x)[-1]
    extractor = create_feature_extractor(model, [last], example_inputs=x, suppress_diff_warning=True).eval()
    guards = extractor.guards
    with torch.no_grad():
        extractor(x)
        forward = sorted(process_seconds(lambda: extractor(x)) for _ in range(rounds))[rounds // 2]
    seen = sorted(process_seconds(lambda: guards.check((x,), {}), CALLS) for _ in range(rounds))[rounds // 2]
    new = sorted(
        process_seconds(lambda b=b: guards.check((x.expand(b, -1, -1, -1),), {})) for b in range(2, rounds + 2)
    )
    detail = f"{len(guards)} guards; forward of one image at {size} {milliseconds(forward)}"
    yield Row(f"guards of {name}, a size seen before", seen * 1e6, "µs a call", f"{seen / forward:.2%} of a forward")
    yield Row(f"guards of {name}, a new size", new[rounds // 2] * 1e3, "ms, once", detail)
