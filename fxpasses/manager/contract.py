"""What a pass is: `Pass`, its claims, and `PassResult`."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, cast, get_args

from torch import fx
from torch.fx.passes.infra.pass_base import PassBase
from torch.fx.passes.infra.pass_base import PassResult as TorchPassResult

from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.facts import Fact
from fxpasses.manager.names import pass_name

PassLike = Callable[[fx.GraphModule], Any]
"""What a pipeline runs: a pass, or any function of a graph module that returns a `PassResult`."""

_Result = TypeVar("_Result", bound="PassResult")

OutputsClaim = Literal["equal", "subset", "renamed", "at_birth"]


class _AllFacts(frozenset[Fact]):
    """A set that holds every fact, those of other packages too."""

    def __contains__(self, fact: object) -> bool:
        return isinstance(fact, Fact)

    def __repr__(self) -> str:
        return "ALL_FACTS"


ALL_FACTS: frozenset[Fact] = _AllFacts()
"""Every fact there is: what a pass that changes nothing preserves."""


class PassResult(TorchPassResult):
    """The outcome of a pass: unpacks as `(graph_module, modified)`; whatever else it tells are attributes.

    A pass that tells more subclasses this with annotated attributes and passes their values as keywords.

    Example:
        >>> class Counted(PassResult):
        ...     copies: int
        >>> result = Counted(fx.symbolic_trace(lambda x: x + 1), True, copies=3)
        >>> graph_module, modified = result
        >>> modified, result.copies
        (True, 3)
    """

    # torch's named tuple leaves its fields untyped; nothing but annotations can say what they hold.
    graph_module: fx.GraphModule  # pyright: ignore[reportIncompatibleVariableOverride]
    modified: bool  # pyright: ignore[reportIncompatibleVariableOverride]

    def __new__(cls: type[_Result], graph_module: fx.GraphModule, modified: bool, **extras: Any) -> _Result:
        """Makes the pair, and sets each of `extras` as an attribute."""
        result = tuple.__new__(cls, (graph_module, modified))
        result.__dict__.update(extras)
        return result


@dataclass(frozen=True)
class Pass(PassBase):
    """Base class of a graph pass: a frozen dataclass whose fields are its options.

    A subclass implements `call`, a thin shell over a free function, and states its claims as class variables.
    Any host that takes `f(graph_module) -> PassResult` takes an instance. Instances hold no state between runs.

    Attributes:
        needs: Facts that must hold before the pass runs.
        provides: Facts that hold after it.
        preserves: Facts that still hold after it if they held before; all others are taken to be lost. A pass that
            changes nothing preserves `ALL_FACTS`.
        in_place: Whether the result is the graph module that was given, changed (True), or a new one.
        outputs_claim: What happens to the graph's outputs: `equal` values, a `subset` of values, `renamed` ones,
            or values as they were `at_birth`, whatever was written into them afterwards.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class CountNodes(Pass):
        ...     preserves = ALL_FACTS
        ...     def call(self, graph_module):
        ...         return PassResult(graph_module, False, count=len(graph_module.graph.nodes))
        >>> CountNodes()(fx.symbolic_trace(lambda x: x + 1)).count
        3
    """

    needs: ClassVar[frozenset[Fact]] = frozenset()
    provides: ClassVar[frozenset[Fact]] = frozenset()
    preserves: ClassVar[frozenset[Fact]] = frozenset()
    in_place: ClassVar[bool] = True
    outputs_claim: ClassVar[OutputsClaim] = "equal"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Checks what the class declares: with a misspelled claim, nobody would hold the pass to it.

        Raises:
            ArgumentTypeError: A claim that cannot be meant.
        """
        super().__init_subclass__(**kwargs)
        for name in ("needs", "provides", "preserves"):
            _require_facts(cls, name)
        if not isinstance(cls.in_place, (bool, property)):
            raise ArgumentTypeError(f"{cls.__name__}.in_place: expected True or False, got {cls.in_place!r}.")
        _require_known_claim(cls)

    def __call__(self, graph_module: fx.GraphModule) -> PassResult:
        """Runs the precondition on the given graph module, the pass, and the postcondition on its result.

        Raises:
            ArgumentTypeError: The pass returned something else than a result.
        """
        self.requires(graph_module)
        result = self.call(graph_module)
        if not isinstance(cast("object", result), TorchPassResult):
            raise no_result(self, result)
        self.ensures(result.graph_module)
        return result

    @abstractmethod
    def call(self, graph_module: fx.GraphModule) -> PassResult:
        """Transforms or analyses `graph_module`; see the class for what a subclass owes."""


def no_result(pass_: object, outcome: object) -> ArgumentTypeError:
    """Makes the error for a pass that returned something else than a result."""
    return ArgumentTypeError(
        f"{pass_name(pass_)} returned {type(outcome).__name__}; a pass returns PassResult(graph_module, modified)."
    )


def _require_facts(pass_type: type[Pass], name: str) -> None:
    declared: object = getattr(pass_type, name)
    if isinstance(declared, property):  # known once there is an instance
        return
    where = f"{pass_type.__name__}.{name}"
    if isinstance(declared, Fact):
        raise ArgumentTypeError(f"{where}: expected a set of facts, got a fact; write frozenset({{{declared}}}).")
    if not isinstance(declared, (frozenset, set)):
        raise ArgumentTypeError(f"{where}: expected a frozenset of facts, got {declared!r}.")
    for fact in cast("frozenset[object]", declared):
        if not isinstance(fact, Fact):
            raise ArgumentTypeError(f"{where} holds {fact!r}, which is no Fact; see fxpasses.graph.facts.")


def _require_known_claim(pass_type: type[Pass]) -> None:
    claim: object = pass_type.outputs_claim
    known: tuple[str, ...] = get_args(OutputsClaim)
    if claim in known or isinstance(claim, property):
        return
    near = difflib.get_close_matches(str(claim), known, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ArgumentTypeError(
        f"{pass_type.__name__}.outputs_claim: {claim!r} is no claim. {hint}There are: {', '.join(map(repr, known))}."
    )
