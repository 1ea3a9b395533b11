"""What `torch.export` cannot take out of a model, or into a module: objects of classes that it does not know.

A cache of keys and values in the output is an example. An export returns the tensors in it instead, and the graph
puts the object together again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxpasses.capture.rebuilt import Rebuilt, take_apart
from fxpasses.capture.signature import CONSTANT_TYPES

_VALUES = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)


class Unflattened:
    """A function from the values of a container's leaves to the container.

    Args:
        spec: The container's structure.
        made: For each leaf that is an object, its place among the leaves, how to make it, and from how many values.
    """

    def __init__(self, spec: pytree.TreeSpec, made: Mapping[int, tuple[Rebuilt, int]] | None = None) -> None:
        self._spec = spec
        self._made = dict(made or {})
        self.__name__ = self.__qualname__ = getattr(spec.type, "__name__", "container")
        self.__module__ = __name__

    def __call__(self, *values: Any) -> Any:
        """Makes the container."""
        waiting = iter(values)
        leaves = [self._leaf(index, waiting) for index in range(self._spec.num_leaves)]
        return pytree.tree_unflatten(leaves, self._spec)

    def _leaf(self, index: int, waiting: Any) -> Any:
        if index not in self._made:
            return next(waiting)
        make, count = self._made[index]
        return make(*(next(waiting) for _ in range(count)))


@dataclass
class OutputForm:
    """How a model's output is made of what its export returns.

    Attributes:
        make: Makes the output; None where the export returns the output itself.
    """

    make: Unflattened | None = None


@contextmanager
def plain_output(model: nn.Module) -> Generator[OutputForm]:
    """Lets `model` return tensors in place of the objects in its output that are no containers of tensors.

    Yields:
        What becomes, when the model has run, the way to make its output of these tensors.
    """
    form = OutputForm()
    forward = model.forward

    @functools.wraps(forward)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return _plain(forward(*args, **kwargs), form)

    model.forward = plain
    try:
        yield form
    finally:
        model.__dict__.pop("forward", None)
        if model.forward != forward:
            model.forward = forward  # the instance had one of its own


def _plain(output: Any, form: OutputForm) -> Any:
    leaves, spec = pytree.tree_flatten(output)
    if all(_is_plain(leaf) for leaf in leaves):
        form.make = None
        return output
    made: dict[int, tuple[Rebuilt, int]] = {}
    values: list[Any] = []
    for index, leaf in enumerate(leaves):
        parts = None if _is_plain(leaf) else take_apart(leaf, lambda part: isinstance(part, _VALUES))
        if parts is None:
            values.append(leaf)
            continue
        made[index] = (parts[0], len(parts[1]))
        values.extend(parts[1])
    form.make = Unflattened(spec, made)
    return tuple(values)


def _is_plain(leaf: Any) -> bool:
    return isinstance(leaf, (*_VALUES, *CONSTANT_TYPES))


@dataclass
class PlainModules:
    """Which modules take and return nothing but containers of tensors and constants.

    Attributes:
        others: Paths of the modules that do not.
    """

    others: set[str] = field(default_factory=set[str])

    def see(self, path: str, *values: Any) -> None:
        """Takes note of what a module took or returned."""
        if not all(map(_is_plain, pytree.tree_leaves(values))):
            self.others.add(path)


@contextmanager
def watched_calls(model: nn.Module) -> Generator[PlainModules]:
    """Watches what the modules of `model` take and return while it runs."""
    seen = PlainModules()
    with ExitStack() as stack:
        for path, module in model.named_modules():
            for handle in (
                module.register_forward_pre_hook(_taken(seen, path), with_kwargs=True),
                module.register_forward_hook(_returned(seen, path)),
            ):
                stack.callback(handle.remove)
        yield seen


def _taken(seen: PlainModules, path: str) -> Callable[..., None]:
    return lambda _, args, kwargs: seen.see(path, args, kwargs)


def _returned(seen: PlainModules, path: str) -> Callable[..., None]:
    return lambda _, __, output: seen.see(path, output)


def plain_paths(paths: Sequence[str], seen: PlainModules, aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Returns those of `paths`, or aliases, at which a module is that takes and returns what an export knows."""
    return tuple(path for path in paths if aliases.get(path, path) not in seen.others)
