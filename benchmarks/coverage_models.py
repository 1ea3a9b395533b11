"""The models of the coverage benchmark: how to make each one, and inputs that it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tiny_transformers
import torch
from torch import nn

TIMM_MODELS = Path(__file__).with_name("timm_models.json")
_DETECTION = ("fasterrcnn", "fcos", "keypointrcnn", "maskrcnn", "retinanet", "ssd")
_VIDEO = ("mc3", "mvit", "r2plus1d", "r3d", "s3d", "swin3d")


class Inputs(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def model_names(library: str) -> list[str]:
    """Returns the names of all models of a library that the benchmark takes, cheap ones first where that is known."""
    if library == "torchvision":
        import torchvision

        names = torchvision.models.list_models()
        return sorted(names, key=lambda name: torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"])
    return list(tiny_transformers.MODELS) if library == "transformers" else json.loads(TIMM_MODELS.read_text())


def build(library: str, name: str) -> nn.Module:
    """Makes a model with random weights."""
    if library == "transformers":
        return tiny_transformers.build(name)
    if library == "timm":
        import timm

        return timm.create_model(name, pretrained=False)
    import torchvision

    options: dict[str, Any] = {"weights": None}
    if name in ("vit_l_16", "vit_h_14"):
        options["image_size"] = 112  # at 224, each takes a quarter of an hour
    if name.startswith(_DETECTION):
        options.update(detection_options(name))
    if name.startswith("quantized_"):
        options["quantize"] = False
    if any(part in name for part in (*_DETECTION, "deeplab", "fcn", "lraspp")):
        options["weights_backbone"] = None
    if "googlenet" in name or "inception" in name:
        options["init_weights"] = False
    return torchvision.models.get_model(name, **options)


def build_without_weights(library: str, name: str) -> nn.Module:
    """Makes a model whose tensors hold no data, or with random weights if it looks at them while it is made."""
    try:
        with torch.device("meta"):
            return build(library, name)
    except (NotImplementedError, RuntimeError):
        return build(library, name)


def detection_options(name: str) -> dict[str, Any]:
    """Returns the options with which a detector finds something with random weights, in images that it keeps small."""
    part = "box_" if "rcnn" in name else ""
    found = {f"{part}score_thresh": 0.0, f"{part}detections_per_img": 5}
    return found if name.startswith("ssd") else {"min_size": 96, "max_size": 128, **found}


def candidates(library: str, name: str, model: nn.Module) -> Iterator[Callable[[int], Inputs]]:
    """Yields makers of inputs for a given batch size, small ones first; the model may refuse the small ones."""
    if library == "transformers":
        yield lambda batch: Inputs(*tiny_transformers.inputs(name, batch))
    elif library == "timm":
        config = getattr(model, "pretrained_cfg", None) or {}
        channels, *size = config.get("input_size", (3, 224, 224))
        if not config.get("fixed_input_size"):
            yield lambda batch: Inputs((torch.randn(batch, channels, 96, 96),), {})
        yield lambda batch: Inputs((torch.randn(batch, channels, *size),), {})
    elif name.startswith("raft"):
        yield lambda batch: Inputs((torch.randn(batch, 3, 128, 128), torch.randn(batch, 3, 128, 128)), {})
    elif name.startswith(_DETECTION):
        yield lambda batch: Inputs(([torch.rand(3, 96, 128) for _ in range(batch)],), {})
    elif name.startswith(_VIDEO):
        yield lambda batch: Inputs((torch.randn(batch, 3, 16, 64, 64),), {})
        yield lambda batch: Inputs((torch.randn(batch, 3, 16, 224, 224),), {})
    else:
        for size in (64, 96, 112, 224, 299):
            yield lambda batch, size=size: Inputs((torch.randn(batch, 3, size, size),), {})


def working_inputs(library: str, name: str, model: nn.Module) -> Callable[[int], Inputs]:
    """Returns the first maker of inputs that a model takes in both modes; in evaluation mode if none is.

    Args:
        library: The library.
        name: The name of the model.
        model: The model, or a copy: some change when they are run.
    """
    refused: dict[bool, Exception] = {}
    taken_in_eval: Callable[[int], Inputs] | None = None
    for make in candidates(library, name, model):
        try:
            for training in (False, True):
                _call(model.train(training), make(2))
                taken_in_eval = taken_in_eval or make
        except Exception as error:  # whatever a model says to inputs that are too small for it
            refused[model.training] = error
        else:
            return make
    if taken_in_eval is None:
        raise RuntimeError(f"{library} {name} takes none of the inputs") from refused[False]
    return taken_in_eval


def _call(model: nn.Module, inputs: Inputs) -> None:
    with torch.no_grad():
        model(*inputs.args, **inputs.kwargs)
