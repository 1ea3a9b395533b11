"""`OpSpec`: one kind of operation that the generator can write, built in or a user's own."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fxpasses.testing.models.program import Call, Construct, Local
from fxpasses.testing.models.types import TensorType

Types = TensorType | tuple["Types", ...] | None
Emitted = tuple[Construct | None, Call]

EFFECTS = frozenset({"write", "view", "views", "overlap", "random", "state"})


def _no_options(_knob: int, *_types: TensorType) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class OpSpec:
    """One kind of operation: when it applies, with which constants, and what comes out.

    The generator offers an operation values of a suitable type (`accepts`), lets it choose its constants from one
    byte (`options`), and asks for the type of the result (`infer`). Nothing is executed while a model is generated.

    Attributes:
        name: What is called: `torch.relu`, `F.relu`, `Tensor.relu` (a method), `operator.add` (written infix),
            `nn.ReLU` (a child module, constructed with the options), or the dotted path of an importable function.
        accepts: Whether it applies to these types; called with one `TensorType` an argument.
        infer: The type of the result, or a tuple of types; None where the operation does not apply after all.
        arity: How many tensors it takes.
        options: The constants of the call as keywords, from a byte and the types of the arguments.
        positional: The names of the options that are written as positional arguments, in order.
        emit: Writes the call where the default (tensors, positional options, keyword options) is not the right form.
        effects: Of `write` (it writes its first argument and returns it), `view` (its result may share memory with
            its arguments), `views` (several views of one tensor), `overlap` (a view that overlaps itself), `random`
            (it draws from the global generator), `state` (it changes a buffer of its module).

    Example:
        >>> spec = OpSpec("torch.softmax", lambda x: x.is_float, lambda x, dim: x.within(0, 1),
        ...               options=lambda knob, x: {"dim": knob % x.ndim})
        >>> spec.write((Local("x"),), {"dim": 1})[1].target
        'torch.softmax'
    """

    name: str
    accepts: Callable[..., bool]
    infer: Callable[..., Types]
    arity: int = 1
    options: Callable[..., Mapping[str, Any]] = _no_options
    positional: tuple[str, ...] = ()
    emit: Callable[[tuple[Local, ...], Mapping[str, Any]], Call] | None = None
    effects: frozenset[str] = frozenset()

    @property
    def is_module(self) -> bool:
        """Whether the operation is a child module."""
        return self.name.startswith("nn.")

    def write(self, arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Emitted:
        """The call of the operation, and the constructor of its module if it is one.

        The target of a module's call is empty: whoever adds the child knows its name.
        """
        if self.is_module:
            positional = tuple(options[name] for name in self.positional)
            keywords = {name: value for name, value in options.items() if name not in self.positional}
            return Construct(self.name, positional, keywords), self._call("module", "", arguments, {})
        space, _, name = self.name.rpartition(".")
        if space == "Tensor":
            return None, self._call("method", name, arguments, options)
        if space == "operator":
            return None, self._call("operator", name, arguments, options)
        return None, self._call("function", self.name, arguments, options)

    def _call(self, kind: Any, target: str, arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Call:
        if self.emit is not None:
            return self.emit(arguments, options)._replace(kind=kind, target=target)
        positional = tuple(options[name] for name in self.positional if name in options)
        keywords = {name: value for name, value in options.items() if name not in self.positional}
        return Call(kind, target, arguments + positional, keywords)


@cache
def resolve(name: str) -> Any:
    """The object behind a dotted name of a program: `torch.relu`, `F.relu`, `operator.add`, `nn.ReLU`.

    Example:
        >>> resolve("F.relu").__name__
        'relu'
    """
    space, _, rest = name.partition(".")
    full = {"F": "torch.nn.functional", "nn": "torch.nn"}.get(space, space)
    return pkgutil.resolve_name(f"{full}.{rest}")
