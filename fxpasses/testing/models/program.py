"""A generated model as data: classes, their children, and the steps of their forward.

The same program is written out as Python source (`render`) and built as a graph without tracing (`build_graph`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from fxpasses.testing.models.types import TensorType

CallKind = Literal["function", "method", "operator", "module", "attribute"]
ContainerKind = Literal["Sequential", "ModuleList", "ModuleDict"]


class Local(NamedTuple):
    """A local variable."""

    name: str


class Attribute(NamedTuple):
    """A parameter or buffer: `self.weight`, `self.linear.weight`."""

    path: str


class ModeFlag(NamedTuple):
    """`self.training`."""


class Literally(NamedTuple):
    """A constant whose source is not its repr: `torch.float64`."""

    value: Any
    source: str


class Call(NamedTuple):
    """One operation: its target is a dotted name, a method, an operator or the path of a child module."""

    kind: CallKind
    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class Assign(NamedTuple):
    """`a = value`, `a, b = value` for several targets, or just `value` for none."""

    targets: tuple[str, ...]
    value: Any


class Branch(NamedTuple):
    """`if self.training: … else: …`."""

    train: Sequence[Assign]
    otherwise: Sequence[Assign]


class Loop(NamedTuple):
    """`for layer in self.layers: variable = layer(variable)`, or `variable + layer(variable)`."""

    variable: str
    container: str
    length: int
    residual: bool = False


Step = Assign | Branch | Loop


class TensorSource(NamedTuple):
    """A small tensor as an expression: evenly spaced numbers of a type."""

    type: TensorType
    phase: int = 0


class Construct(NamedTuple):
    """`nn.Linear(3, 4, bias=False)`."""

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class Container(NamedTuple):
    """A Sequential, ModuleList or ModuleDict of children."""

    kind: ContainerKind
    children: tuple[tuple[str, Constructor], ...]


@dataclass(eq=False)
class Block:
    """A class of the generated model."""

    name: str
    parameters: list[Parameter] = field(default_factory=list["Parameter"])
    members: list[Member] = field(default_factory=list["Member"])
    steps: list[Step] = field(default_factory=list["Step"])
    result: Any = None


Constructor = Construct | Container | Block


class Parameter(NamedTuple):
    """A parameter of a forward; `default` is a constant, or None for one that must be given."""

    name: str
    default: float | None = None
    keyword_only: bool = False


class Child(NamedTuple):
    """`self.name = constructor`."""

    name: str
    constructor: Constructor


class Alias(NamedTuple):
    """`self.name = self.of`: one module under two names."""

    name: str
    of: str


class Tie(NamedTuple):
    """`self.child.weight = self.of.weight`: one parameter in two modules."""

    child: str
    of: str
    parameter: str


class TensorMember(NamedTuple):
    """A parameter (`kind="parameter"`) or a buffer of the block itself."""

    name: str
    source: TensorSource
    kind: Literal["parameter", "buffer", "scratch"]


Member = Child | Alias | Tie | TensorMember


class Input(NamedTuple):
    """What a parameter of the root is called with: a tensor, or a dict or tuple of tensors, or a number."""

    name: str
    value: Any
    by_keyword: bool = False


@dataclass(frozen=True)
class Program:
    """A whole model: its classes in the order of definition (the root last), and the inputs to call it with."""

    blocks: Sequence[Block]
    inputs: Sequence[Input]
    features: frozenset[str]
    frozen: Sequence[str] = ()

    @property
    def root(self) -> Block:
        """The class of the model."""
        return self.blocks[-1]
