"""`Decision`: what ordinary Python code made of a proxy, and where."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx

_NOT_THE_MODELS_CODE = (
    str(Path(torch.__file__).parent) + os.sep,
    str(Path(__file__).parents[1]) + os.sep,
    "<eval_with_key>",
    "<string>",
)


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int

    @property
    def source(self) -> str:
        """The line's text, or nothing where there is no file."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


NOWHERE = Place("", 0)


def current_place() -> Place:
    """Returns the line of the model's code that is running: the innermost one outside of torch and of this package."""
    frame = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_THE_MODELS_CODE):
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return NOWHERE


@dataclass(frozen=True)
class Decision:
    """One answer that the trace took from a value, and that the graph relies on.

    Attributes:
        node: The node whose value was asked for.
        kind: The question: `bool`, `int`, `float`, `len`, `keys`, `dtype`.
        answer: What was answered.
        place: The line that asked.
        module: Path of the module whose forward was running.
        time: How many nodes the graph had then.
    """

    node: fx.Node
    kind: str
    answer: Any
    place: Place
    module: str
    time: int


def deciding(decisions: Sequence[Decision]) -> list[Decision]:
    """Returns the decisions that depend on an argument, each once."""
    from_arguments: dict[fx.Node, bool] = {}
    for decision in decisions:
        _depends_on_arguments(decision.node, from_arguments)
    unique = {(decision.node, decision.kind): decision for decision in reversed(decisions)}
    return [decision for decision in reversed(unique.values()) if from_arguments[decision.node]]


def _depends_on_arguments(node: fx.Node, known: dict[fx.Node, bool]) -> None:
    waiting = [node]
    while waiting:
        current = waiting[-1]
        inputs = [each for each in current.all_input_nodes if each not in known]
        if inputs:
            waiting.extend(inputs)
            continue
        known[current] = current.op == "placeholder" or any(known[each] for each in current.all_input_nodes)
        waiting.pop()
