"""The inputs that the shell gives a model: an image, random numbers, or examples that have a shape alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from fxpasses.cli.examples import ExampleInput
from fxpasses.cli.models import torchvision_weights
from fxpasses.cli.output import optional
from fxpasses.errors import RequestError

# Pillow reads some other formats by running other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class Call(NamedTuple):
    """The arguments of one call of a model."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - never changed


def make_call(arguments: Namespace, model: nn.Module) -> Call:
    """Returns random numbers for each `--input`, or else the one input that `make_input` makes."""
    if not arguments.input:
        return Call((make_input(arguments, model),))
    if arguments.image is not None or arguments.size is not None:
        raise RequestError("--input gives the inputs of the model: leave out --image and --size.")
    return examples(arguments.input, model)


def examples(inputs: Sequence[ExampleInput], model: nn.Module) -> Call:
    """Returns an argument for each of `inputs`, with random numbers in it, on the device of the model.

    Example:
        >>> from fxpasses.cli.examples import example_input
        >>> call = examples([example_input("1,3:bool"), example_input("parts=2+3")], nn.ReLU())
        >>> call.args[0].dtype, [part.shape for part in call.kwargs["parts"]]
        (torch.bool, [torch.Size([2]), torch.Size([3])])
    """
    tensor = next(model.parameters(), None)
    device = torch.device("cpu") if tensor is None else tensor.device
    args = tuple(_argument(each, device) for each in inputs if each.keyword is None)
    return Call(args, {each.keyword: _argument(each, device) for each in inputs if each.keyword is not None})


def usual_examples(name: str, model: nn.Module) -> Call:
    """Returns inputs of the kind that torchvision's model of that name takes; none for a model from elsewhere."""
    if ":" in name:
        return Call()
    import torchvision.models

    home = torchvision.models.get_model_builder(name).__module__
    weights = list(torchvision.models.get_model_weights(name))
    height, width = _crop_size(weights[0].transforms() if weights else None)
    if ".detection" in home:
        shapes = ExampleInput(None, ((3, 320, 320),), is_list=True)
    elif ".optical_flow" in home:
        return examples([ExampleInput(None, ((1, 3, 128, 128),))] * 2, model)
    else:
        shapes = ExampleInput(None, ((1, 3, *([16] if ".video" in home else []), height, width),))
    return examples([shapes], model)


def _argument(example: ExampleInput, device: torch.device) -> Any:
    tensors = [_random(shape, getattr(torch, example.dtype), device) for shape in example.shapes]
    return tensors if example.is_list else tensors[0]


def _random(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, dtype=dtype, device=device)
    # Small numbers: most often they are indices into a table.
    return torch.randint(0, 2 if dtype == torch.bool else 10, shape, device=device).to(dtype)


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
