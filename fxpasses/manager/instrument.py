"""`Instrument`: what watches a pipeline from beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import fx

from fxpasses.graph.change import GraphChange, compare
from fxpasses.graph.state import GraphState
from fxpasses.manager.contract import PassLike, PassResult
from fxpasses.manager.names import pass_name


@dataclass
class Step:
    """One run of one pass, as instruments see it.

    Attributes:
        pass_: The pass.
        position: Its place in the pipeline.
        before: The graph module's structure before the pass.
        result: What the pass returned; None while it has not.
        claimed: What it said in `modified`; None if it said nothing.
        after: The structure afterwards; the very same object as `before` if nothing changed.
        seconds: How long it ran.
    """

    pass_: PassLike
    position: tuple[int, ...]
    before: GraphState
    result: PassResult | None = None
    claimed: bool | None = None
    after: GraphState = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Takes the state before for the one after, until the pass has run."""
        self.after = self.before

    @property
    def name(self) -> str:
        """How errors and reports call the pass."""
        return pass_name(self.pass_)

    @property
    def graph_module(self) -> fx.GraphModule:
        """The graph module as it is now: the result's if there is one."""
        return self.after.graph_module if self.result is None else self.result.graph_module

    @cached_property
    def change(self) -> GraphChange:
        """What the pass changed; only valid once it has run."""
        return GraphChange() if self.after is self.before else compare(self.before, self.after)

    @property
    def changed(self) -> bool:
        """Whether something changed: as measured, or as a pass claims that changed what cannot be measured."""
        return bool(self.change) or (bool(self.claimed) and hasattr(self.pass_, "preserves"))


class Instrument:
    """Base class of what watches a pipeline: every method does nothing until a subclass overrides it.

    What an instrument raises counts as a failure of the pass at hand: the graph module is put back.

    Example:
        >>> class Announce(Instrument):
        ...     def after_pass(self, step):
        ...         print(step.name, "changed" if step.changed else "unchanged")
    """

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Called once a run, before the first pass."""

    def skip(self, step: Step) -> str | None:  # noqa: ARG002 - the signature is for subclasses
        """Returns why the pass at hand is not to run, or None."""
        return None

    def before_pass(self, step: Step) -> None:
        """Called before each pass that is not skipped."""

    def after_pass(self, step: Step) -> None:
        """Called after each pass that did not raise."""

    def after_failure(self, step: Step, error: Exception) -> None:
        """Called when a pass or an instrument raised, before the graph module is put back."""

    def after_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Called once a run, after the last pass."""

    def after_restore(self, graph_module: fx.GraphModule) -> None:
        """Called with the graph module that was put back after a failure."""
