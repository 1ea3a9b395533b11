"""`Watched`: one run of a pass, with all that was there before it written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from fxpasses.testing.laws.fingerprint import attributes_of, meta_of, modules_of, program_of

if TYPE_CHECKING:
    from fxpasses.testing.laws.law import Transformed


class PassRaisedError(Exception):
    """Carries what a pass raised from where it was called to the check, past the law that called it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Watched:
    """What a graph module was before a pass ran on it, and how the run ended.

    Attributes:
        given: The graph module; it is what the run left of it.
        program: Its graph as text, before the run; so are the following.
        meta: The meta of its nodes.
        modules: Its modules with their options, modes, hooks and tensors.
        attributes: The names of its modules' attributes.
        state: Clones of its parameters and buffers.
        owners: For each parameter, the names of all that are the same object.
        ending: What the pass returned, or the error that carries what it raised.
    """

    given: fx.GraphModule
    program: list[str]
    meta: list[str]
    modules: list[str]
    attributes: Mapping[str, list[str]]
    state: Mapping[str, torch.Tensor]
    owners: Mapping[str, set[str]]
    ending: Transformed | PassRaisedError

    @classmethod
    def run(cls, apply: Callable[[fx.GraphModule], Transformed], given: fx.GraphModule) -> Watched:
        """Writes down what `given` is, and runs the pass on it."""
        before = program_of(given), meta_of(given), modules_of(given), attributes_of(given)
        state = {name: tensor.detach().clone() for name, tensor in given.state_dict().items()}
        owners = owners_of(given)
        try:
            ending = apply(given)
        except PassRaisedError as error:
            ending = error
        return cls(given, *before, state, owners, ending)

    @property
    def result(self) -> Transformed:
        """What the pass returned.

        Raises:
            PassRaisedError: It raised an exception.
        """
        if isinstance(self.ending, PassRaisedError):
            raise self.ending
        return self.ending


def owners_of(module: nn.Module) -> dict[str, set[str]]:
    """For each parameter, the names of all that are the same object."""
    named = list(module.named_parameters(remove_duplicate=False))
    return {name: {other for other, same in named if same is tensor} for name, tensor in named}
