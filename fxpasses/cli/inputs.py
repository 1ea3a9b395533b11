"""The input that the shell runs a model on: an image, or random numbers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fxpasses.cli.models import torchvision_weights
from fxpasses.cli.output import optional
from fxpasses.errors import RequestError

# Pillow reads some other formats by running other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def make_input(arguments: Namespace, model: nn.Module) -> torch.Tensor:
    """Returns what `--image`, `--size` and `--weights` ask for, on the device and in the dtype of the model.

    Raises:
        RequestError: The file is no image, or the size is none of an image.
    """
    preset = _preset(arguments)
    size = arguments.size or (1, 3, *_crop_size(preset))
    if arguments.image is None:
        value = torch.randn(size)
    else:
        transform = preset if preset is not None and arguments.size is None else _preprocessing(size)
        value = transform(_open_image(arguments.image)).unsqueeze(0)
    return value.to(next(model.parameters(), value))


def _preset(arguments: Namespace) -> Any:
    """Returns the preprocessing that belongs to torchvision's weights; None for other weights, or none."""
    if arguments.weights is None or arguments.weights.endswith(".safetensors"):
        return None
    return torchvision_weights(arguments.model, arguments.weights).transforms()


def _crop_size(preset: Any) -> tuple[int, int]:
    crop = tuple(getattr(preset, "crop_size", ()))
    return (crop[0], crop[-1]) if crop else (224, 224)


def _open_image(path: Path) -> Any:
    pillow = optional("PIL.Image", "--image")
    try:
        with pillow.open(path, formats=_FORMATS) as image:
            return image.convert("RGB")
    except (pillow.DecompressionBombError, pillow.UnidentifiedImageError) as error:
        raise RequestError(f"--image {path}: {error}. Formats: {', '.join(_FORMATS)}.") from error


def _preprocessing(size: tuple[int, ...]) -> Any:
    """Returns what most image models were trained with: resized, cropped, and normalized as ImageNet is."""
    from torchvision import transforms

    if len(size) != 4 or size[:2] != (1, 3):
        raise RequestError(f"--size {','.join(map(str, size))}: an image makes an input of shape 1,3,height,width.")
    return transforms.Compose(
        [
            transforms.Resize(max(size[2:])),
            transforms.CenterCrop(size[2:]),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
