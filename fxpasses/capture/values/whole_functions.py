"""Functions that decide on data inside, and not on anything that the graph around them depends on.

A value capture records each as one node. What a node computes up to data is known from a stand-in.
"""

from __future__ import annotations

import builtins
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from fxpasses.capture.values.shims import holds_proxy
from fxpasses.errors import CaptureError

if TYPE_CHECKING:
    from fxpasses.capture.value_tracer import ValueTracer

Function = Callable[..., Any]
Namespace = dict[str, Any]

_DRAWS_BY_NUMPY = ("_compute_mask_indices", "_sample_negative_indices")
"""Functions of transformers that draw random numbers by numpy, and decide on them."""

_ORIGINAL = "_fxpasses_original"


def stand_in(function: Function) -> Function:
    """Returns what computes the value of `function` without data; for most functions, itself.

    Example:
        >>> stand_in(torch.relu) is torch.relu, stand_in(min)(2, 3)
        (True, 2)
    """
    if function in (builtins.min, builtins.max):
        return functools.partial(_extreme, function)
    if function is functional.interpolate:
        return _interpolated
    return _of_torchvision().get(function, function)


def stand_in_of_module(module: nn.Module) -> Function:
    """Returns what computes the value of a call of `module` without data; for most modules, their forward."""
    # By name: a tracer that runs may have put something else in the place of the class.
    if (type(module).__module__, type(module).__name__) == ("torchvision.ops.poolers", "MultiScaleRoIAlign"):
        return functools.partial(_pooled_regions, module)
    return module.forward


def recorded_whole(tracer: ValueTracer, traced: Mapping[int, Namespace]) -> Iterator[tuple[Namespace, Namespace]]:
    """Yields the namespaces in which names are to be replaced while `tracer` runs, each with the replacements.

    Args:
        tracer: The tracer.
        traced: The namespaces of the code that may be traced, by their id.
    """
    homes = [vars(sys.modules[function.__module__]) for function in _of_torchvision()]
    namespaces = {**traced, **{id(home): home for home in homes}}.values()
    whole = {function: _whole(tracer, function) for function in _of_torchvision()}
    numbers = {function.__name__: _number(tracer, function) for function in (builtins.min, builtins.max)}
    for namespace in namespaces:
        entries = {name: each for name, each in numbers.items() if name not in namespace}
        entries |= {each.__name__: each for function, each in whole.items() if namespace.get(each.__name__) is function}
        if str(namespace.get("__name__")).startswith("transformers."):
            entries |= {name: _whole(tracer, namespace[name]) for name in _DRAWS_BY_NUMPY if name in namespace}
        yield namespace, entries


def _whole(tracer: ValueTracer, function: Function) -> Function:
    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        if tracer.stands_aside() or not holds_proxy(args, kwargs):
            return function(*args, **kwargs)
        return tracer.create_proxy("call_function", function, args, kwargs)

    recorded.__dict__[_ORIGINAL] = function
    return recorded


def _original(function: Function) -> Function:
    """Returns the function itself, also while a capture has put a recording one in its place."""
    return getattr(function, _ORIGINAL, function)


def _number(tracer: ValueTracer, function: Function) -> Function:
    """Returns `min` or `max` such that a comparison with a size that depends on data is a node, not a decision."""

    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        if tracer.stands_aside() or kwargs or len(args) < 2 or not holds_proxy(args):
            return function(*args, **kwargs)
        taken = len(tracer.decisions)
        try:
            return function(*args)
        except CaptureError:
            del tracer.decisions[taken:]
            return tracer.create_proxy("call_function", function, args, {})

    return recorded


def _extreme(function: Function, *args: Any, **kwargs: Any) -> Any:
    if not kwargs and len(args) > 1 and any(isinstance(each, torch.SymInt) for each in args):
        return functools.reduce(torch.sym_min if function is builtins.min else torch.sym_max, args)
    return function(*args, **kwargs)


def _of_torchvision() -> dict[Function, Function]:
    """Returns torchvision's functions, as far as they have been imported, with their stand-ins."""
    boxes, heads = (
        sys.modules.get(name) for name in ("torchvision.ops.boxes", "torchvision.models.detection.roi_heads")
    )
    found: dict[Function, Function] = {}
    if boxes is not None:
        found[_original(boxes.batched_nms)] = _batched_nms
    if heads is not None:
        found[_original(heads.paste_masks_in_image)] = _paste_masks_in_image
        found[_original(heads.heatmaps_to_keypoints)] = _heatmaps_to_keypoints
    return found


def _interpolated(x: Any, size: Any = None, scale_factor: Any = None, *more: Any, **options: Any) -> Any:
    if not isinstance(x.shape[0], torch.SymInt):
        return functional.interpolate(x, size, scale_factor, *more, **options)
    extents = x.shape[2:]
    sizes = size if isinstance(size, (list, tuple)) else [size] * len(extents)
    scales = scale_factor if isinstance(scale_factor, (list, tuple)) else [scale_factor] * len(extents)
    spatial = [
        int(extent * scale) if given is None else given
        for extent, given, scale in zip(extents, sizes, scales, strict=True)
    ]
    return x.new_empty((*x.shape[:2], *spatial))


def _pooled_regions(pooler: Any, x: Any, boxes: Any, image_shapes: Any) -> Any:
    del image_shapes
    features = next(value for name, value in x.items() if name in pooler.featmap_names)
    regions = sum(each.shape[0] for each in boxes)
    return features.new_empty((regions, features.shape[1], *pooler.output_size))


def _batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Any:
    del idxs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision asks for an unknown size in an old way
        return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def _paste_masks_in_image(masks: Any, boxes: Any, img_shape: Any, padding: int = 1) -> Any:
    del boxes, padding
    return masks.new_empty((masks.shape[0], 1, *img_shape))


def _heatmaps_to_keypoints(maps: Any, rois: Any) -> Any:
    del rois
    return maps.new_empty((*maps.shape[:2], 3)), maps.new_empty(maps.shape[:2])
