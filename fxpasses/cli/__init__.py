"""The shell: lists node names, compares the modes, extracts features, draws graphs, runs passes, tries captures.

This module imports nothing slow, so that `--help` and usage errors are answered at once; `commands` imports torch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from fxpasses.cli.examples import example_input
from fxpasses.errors import CaptureError, FxpassesError

__all__ = ["main", "make_parser"]

_CAPTURES = ("auto", "symbolic", "values", "export")
_EXAMPLES = """\
A MODEL is a name of torchvision (resnet50), or package.module:name of a module, its class or a function that makes it.

examples:
  fxpasses names resnet50
  fxpasses diff inception_v3
  fxpasses extract resnet50 layer1.0.relu layer4 --weights DEFAULT --image photo.jpg --out features.safetensors
  fxpasses draw resnet18 layer1 --out layer1.dot
  fxpasses run "name-nodes, prune-to-outputs{layer3=c4}" resnet50
  fxpasses doctor swin_t
  fxpasses names my_models:make_bert --input 1,128:int64 --input attention_mask=1,128:int64
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the shell.

    Args:
        argv: The arguments; those of the process by default.

    Returns:
        The exit code: 0, or 2 for what was asked wrongly; the reason is on the standard error stream then.

    Example:
        >>> main(["names", "alexnet"])  # doctest: +ELLIPSIS
        x
        features.0
        features.1
        ...
        0
    """
    arguments = make_parser().parse_args(argv)
    try:
        with _warnings_in_one_line():
            from fxpasses.cli.commands import COMMANDS  # imports torch

            COMMANDS[arguments.command](arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (FxpassesError, OSError) as error:
        print(f"fxpasses: error: {error}{_hint(error, arguments)}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line; it needs no torch."""
    parser = argparse.ArgumentParser(
        "fxpasses",
        description="Looks into PyTorch models.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    names = _command(commands, "names", "list the names of a model's nodes, in the order of execution")
    names.add_argument("--mode", choices=("train", "eval", "current", "both"), default="eval", help="default: eval")
    names.add_argument("--json", action="store_true", help="print JSON")

    diff = _command(commands, "diff", "show what differs between a model's train and eval mode")
    diff.add_argument("--json", action="store_true", help="print JSON")

    extract = _command(commands, "extract", "compute values inside of a model, and print what they are")
    extract.add_argument("names", metavar="NAME", nargs="+", help="a node, or a module for what it returns")
    extract.add_argument("--image", type=Path, help="an image file as the input; a random input without it")
    extract.add_argument(
        "--weights", help="torchvision's, such as DEFAULT, or a .safetensors file; random ones without it"
    )
    extract.add_argument("--size", type=_size, help="height and width of the input, or its whole shape: 1,3,16,112,112")
    extract.add_argument("--mode", choices=("train", "eval"), default="eval", help="default: eval")
    extract.add_argument("--seed", type=int, default=0, help="for random weights and a random input; default: 0")
    extract.add_argument("--out", type=Path, help="a .safetensors file to write the values to")
    extract.add_argument("--json", action="store_true", help="print JSON")

    draw = _command(commands, "draw", "draw a model's graph, colored by mode, or the part of it that some values need")
    draw.add_argument("names", metavar="NAME", nargs="*", help="values to draw the computation of; without one, all")
    draw.add_argument("--out", type=Path, required=True, help="a .dot (Graphviz) or .json (networkx) file to write")

    run = _command(
        commands, "run", "run a pipeline of passes over a model's graph, and report what each did", "pipeline"
    )
    run.add_argument("--mode", choices=("train", "eval"), default="eval", help="default: eval")
    run.add_argument("--code", action="store_true", help="print the code of the resulting graph, not the report")
    run.add_argument("--json", action="store_true", help="print JSON")

    doctor = _command(commands, "doctor", "try every capture on a model, and print which ones take it")
    doctor.add_argument("--json", action="store_true", help="print JSON")

    for command in (names, diff, extract, draw, run):
        command.add_argument(
            "--capture", choices=_CAPTURES, default="auto", help="default: values with an --input, symbolic without"
        )
    return parser


def _hint(error: Exception, arguments: argparse.Namespace) -> str:
    if not isinstance(error, CaptureError) or arguments.input:
        return ""
    return (
        "\nIn the shell: --input 1,3,224,224 captures with an example of that shape; "
        f"fxpasses doctor {arguments.model} tries every capture."
    )


class _Version(argparse.Action):
    """What argparse's own action does, without reading the version before it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # as slow as all else here together

        print(version("fxpasses"))
        parser.exit()


def _command(commands: Any, name: str, summary: str, *first: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    for argument in first:
        parser.add_argument(argument, metavar=argument.upper(), help="passes as text, in the order of running")
    parser.add_argument("model", metavar="MODEL", help="a torchvision name, or package.module:name")
    parser.add_argument(
        "--leaf",
        action="append",
        default=[],
        metavar="CLASS",
        help="a class whose modules are one node each; may be repeated",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=example_input,
        metavar="SHAPE",
        help="an example of an argument, as 1,3,224,224 or 1,128:int64 or mask=1,128:bool; may be repeated",
    )
    return parser


def _size(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number such as 224 nor a shape such as 1,3,16,112,112")
    size = tuple(map(int, parts))
    return size if len(size) > 1 else (1, 3, *size, *size)


@contextlib.contextmanager
def _warnings_in_one_line() -> Generator[None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        print(f"fxpasses: {category.__name__}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
