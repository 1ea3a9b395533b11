"""Training mode and state of a model around a capture: set, and put back whatever happens."""

from __future__ import annotations

import random
import sys
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from fxpasses.capture.patching import one_capture_at_a_time
from fxpasses.graph.mode_flags import ModeFlags, has_own_train
from fxpasses.graph.snapshot import ModuleSnapshot


@contextmanager
def left_as_it_was(model: nn.Module, training: bool | None = None) -> Generator[None]:
    """Runs its block with `model` in the given mode, then puts the whole model back as it was.

    One thread at a time gets in, since another capture must not see a mode that is set for a moment only.
    Every submodule gets its own `training` flag back (a frozen normalisation layer stays frozen), together
    with its attributes, children and hooks, also when the block raises; and so do the random number generators of
    torch (on the CPU), of Python and of numpy. Values inside tensors are not saved.

    Args:
        model: The model; its `train` method is what sets the mode, so that overrides of it are honoured.
        training: True for training mode, False for evaluation mode, None for the flags as they are.

    Example:
        >>> model = nn.Sequential(nn.Dropout().eval())
        >>> with left_as_it_was(model, training=True):
        ...     model[0].training
        True
        >>> model.training, model[0].training
        (True, False)
    """
    with one_capture_at_a_time():
        snapshot = ModuleSnapshot.take(model)
        torch_stream, python_stream = torch.get_rng_state(), random.getstate()
        numpy = sys.modules.get("numpy.random")
        numpy_stream = None if numpy is None else numpy.get_state()
        try:
            if training is not None:
                _set_mode(model, training)
            yield
        finally:
            snapshot.restore()
            torch.set_rng_state(torch_stream)
            random.setstate(python_stream)
            if numpy is not None:
                numpy.set_state(numpy_stream)


def _set_mode(model: nn.Module, training: bool) -> None:
    """Does what `model.train(training)` does, in a fraction of the time."""
    if has_own_train(model):
        model.train(training)
        return
    model.training = training
    ModeFlags(model).set(training)
