"""`Law`, the base class of all laws, and `Trial`, what a law is checked on."""

from __future__ import annotations

import itertools
import operator
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple, NoReturn

from torch import fx

from fxpasses.errors import ArgumentTypeError, LawViolation
from fxpasses.testing.laws.watched import PassRaisedError, Watched
from fxpasses.testing.outcome import Mode, Outcome, run
from fxpasses.testing.subject import Subject

PassLike = Callable[[fx.GraphModule], Any]

FIRED: Counter[tuple[str, str]] = Counter()
"""How often each law really looked at something, by law and aspect; a law that never does proves nothing."""


NOTHING_CLAIMED = "nothing claimed"
"""The aspect of a law about a claim that the pass does not make."""


class Transformed(NamedTuple):
    """What a pass did to a graph module."""

    given: fx.GraphModule
    graph_module: fx.GraphModule
    modified: bool | None


def transform(pass_: PassLike, graph_module: fx.GraphModule) -> Transformed:
    """Run a pass, whatever of the usual things it returns.

    Args:
        pass_: A function that returns a `PassResult` (or a pair like it), a graph module or graph, or that changes
            what it is given and returns nothing, or whether it changed something.
        graph_module: What to run it on.

    Raises:
        ArgumentTypeError: It returns something else.

    Example:
        >>> changed = transform(lambda gm: gm.graph.eliminate_dead_code(), fx.symbolic_trace(lambda x: x))
        >>> changed.modified
        False
    """
    compiled_from = _nodes_of(graph_module)
    result = pass_(graph_module)
    modified = None
    if isinstance(result, tuple) and len(result) == 2:  # pyright: ignore[reportUnknownArgumentType] - any pair
        result, modified = result[0], bool(result[1])
    elif isinstance(result, bool):
        result, modified = graph_module, result
    if result is None:
        result = graph_module
    if isinstance(result, fx.Graph):
        result = fx.GraphModule(graph_module, result)
    if not isinstance(result, fx.GraphModule):
        raise ArgumentTypeError(
            f"a pass returns a PassResult, a GraphModule, a Graph, a bool or None, and {name_of(pass_)} returned "
            f"a {type(result).__name__}"
        )
    if result is not graph_module or not _are_same(_nodes_of(result), compiled_from):
        result.recompile()
    return Transformed(graph_module, result, modified)


def _nodes_of(graph_module: fx.GraphModule) -> list[Any]:
    """All that code is generated from."""
    graph = graph_module.graph
    parts = ((node, node.op, node.target, node.args, node.kwargs, node.name, node.type) for node in graph.nodes)
    return [graph, graph._codegen, *itertools.chain.from_iterable(parts)]  # pyright: ignore[reportPrivateUsage] - torch has no other way to it


def _are_same(parts: list[Any], others: list[Any]) -> bool:
    """Whether two lists hold the very same objects: equal ones, such as 1 and True, are written differently."""
    return len(parts) == len(others) and all(map(operator.is_, parts, others))


def name_of(pass_: PassLike) -> str:
    """What messages call a pass.

    Example:
        >>> name_of(name_of)
        'name_of'
    """
    return getattr(pass_, "__name__", None) or type(pass_).__name__


@dataclass
class Trial:
    """A pass and a subject, for one law after the other to look at.

    Attributes:
        pass_: The pass.
        subject: What it runs on.
        law: The law that looks at it now.
        mode: The mode in which a violation was seen, where that matters.
    """

    pass_: PassLike
    subject: Subject
    law: Law
    mode: Mode | None = None

    @cached_property
    def result(self) -> Transformed:
        """What the pass made of a copy; a law may run it, and must not change it."""
        return self.apply(self.subject.fresh())

    @cached_property
    def watched(self) -> Watched:
        """A run on another copy, with what was there before it; nothing has been run on what it left."""
        return Watched.run(self.apply, self.subject.fresh())

    def outcome(self, mode: Mode, seed: int = 0) -> Outcome:
        """What a run of the result does; one run serves all laws."""
        return self._outcomes(mode, seed)

    @cached_property
    def _outcomes(self) -> Callable[[Mode, int], Outcome]:
        return cache(lambda mode, seed: run(self.result.graph_module, *self.subject.inputs(), mode=mode, seed=seed))

    def apply(self, graph_module: fx.GraphModule, pass_: PassLike | None = None) -> Transformed:
        """Run the pass, or another one, on a graph module.

        Raises:
            PassRaisedError: The pass raised an exception.
        """
        try:
            return transform(pass_ or self.pass_, graph_module)
        except Exception as error:
            raise PassRaisedError(error) from error

    def fired(self, aspect: str) -> None:
        """Count that the law really looked at something."""
        FIRED[self.law.name, aspect] += 1

    def fail(self, message: str, mode: Mode | None = None) -> NoReturn:
        """Raise the law's own violation."""
        __tracebackhide__ = True
        self.mode = mode
        raise self.law.violation(message)


@dataclass(frozen=True)
class Law(ABC):
    """Something that holds for a pass on every model.

    A law is a frozen dataclass whose fields are its options. It raises `violation`, a class of its own, so that
    a test that breaks two laws is not taken for one bug.

    Attributes:
        violation: What it raises.
        aspects: What it must have looked at in a run of many examples for the run to prove something.
        script: Python that shows the violation; see `fxpasses.testing.repro`.
    """

    violation: ClassVar[type[LawViolation]]
    aspects: ClassVar[tuple[str, ...]] = ()
    script: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The law's name: that of its class."""
        return type(self).__name__

    @property
    def slug(self) -> str:
        """The name as part of a test's or a file's name."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @abstractmethod
    def check(self, trial: Trial) -> None:
        """Raise `violation` unless the law holds."""
