"""Example inputs as text: `1,3,224,224`, `1,128:int64`, `mask=1,128:bool`, and `3,96,128+3,80,80` for a list of tensors.

Like the parser, this module imports no torch.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip


class ExampleInput(NamedTuple):
    """One argument of a model's forward.

    Attributes:
        keyword: The argument's name; None if it is passed by position.
        shapes: The shape of the tensor, or of each tensor in the list.
        dtype: The dtype of the tensors.
        is_list: Whether the argument is a list of tensors.
    """

    keyword: str | None
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    is_list: bool = False


def example_input(text: str) -> ExampleInput:
    """Reads the text of one `--input`.

    Raises:
        argparse.ArgumentTypeError: It is none; argparse prints the message.

    Example:
        >>> example_input("mask=1,128:int64")
        ExampleInput(keyword='mask', shapes=((1, 128),), dtype='int64', is_list=False)
        >>> example_input("3,96,128+3,80,80").shapes
        ((3, 96, 128), (3, 80, 80))
    """
    keyword, equals, rest = text.rpartition("=")
    shapes, colon, dtype = rest.partition(":")
    parts = [part for part in shapes.split("+") if part]
    if (equals and not keyword.isidentifier()) or not parts:
        raise _mistake(text)
    if colon and dtype not in DTYPES:
        raise argparse.ArgumentTypeError(f"{text!r}: {dtype!r} is no dtype; there are {', '.join(DTYPES)}")
    found = tuple(_shape(part, text) for part in parts)
    return ExampleInput(keyword or None, found, dtype or "float32", "+" in shapes)


def _shape(part: str, text: str) -> tuple[int, ...]:
    sizes = part.split(",")
    if not all(size.isascii() and size.isdecimal() for size in sizes):
        raise _mistake(text)
    return tuple(map(int, sizes))


def _mistake(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(
        f"{text!r} is no example input: give a shape such as 1,3,224,224, with a dtype as in 1,128:int64, "
        "with a keyword as in mask=1,128:bool, or a list of tensors as in 3,96,128+3,80,80"
    )
