"""Whether passes keep to what they claim: what is always checked, and `CheckClaims` for what costs more."""

from __future__ import annotations

import operator

from torch import fx

from fxpasses.errors import FalseClaimError
from fxpasses.graph.change import compare, same_value
from fxpasses.graph.facts import Fact
from fxpasses.graph.meta_state import MetaState, compare_meta
from fxpasses.graph.state import GraphState
from fxpasses.graph.structural_hash import structural_hash
from fxpasses.manager.contract import Pass
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.needs import needs_of, place_text


def check_claims(step: Step, given: fx.GraphModule) -> None:
    """Raises if a pass changed what it says it did not, or returned another graph module than it declares.

    Args:
        step: The pass, which has run.
        given: The graph module that it was given.

    Raises:
        FalseClaimError: A claim is false.
    """
    if step.claimed is False and step.change and not _is_copy(step, given):
        raise FalseClaimError(
            f"{_which(step)} returned modified=False, but it changed the graph module: {step.change}. "
            "Return PassResult(graph_module, True); a function that cannot tell may return None."
        )
    if not isinstance(step.pass_, Pass):
        return
    if step.pass_.in_place and step.graph_module is not given:
        raise FalseClaimError(
            f"{_which(step)} declares in_place=True, but returned another graph module than it was given. "
            "Declare in_place: ClassVar[bool] = False, or change the given one."
        )
    if step.pass_.in_place:
        return
    change = compare(step.before, GraphState.of(given))
    if change:
        raise FalseClaimError(
            f"{_which(step)} declares in_place=False, but changed the graph module that it was given: {change}. "
            "Declare in_place: ClassVar[bool] = True, or return a new one."
        )


def _is_copy(step: Step, given: fx.GraphModule) -> bool:
    """Whether the result is another graph module with the same structure, under other names."""
    return step.graph_module is not given and structural_hash(step.before) == structural_hash(step.after)


class CheckClaims(Instrument):
    """Tests what passes claim beyond what every run tests: changes that are none, and facts.

    After each pass: `modified=True` means that the structure, the meta or a tensor is different; every fact that
    the pass provides holds; every fact that it preserves, and that held before, still holds.

    Example:
        >>> from fxpasses.manager import PassManager, PassResult
        >>> def busy(graph_module):
        ...     return PassResult(graph_module, True)
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> PassManager([busy], instruments=[CheckClaims()])(graph_module)
        Traceback (most recent call last):
        fxpasses.errors.FalseClaimError: busy (pass 1) returned modified=True, but it changed nothing.
    """

    def __init__(self) -> None:
        self._meta: MetaState | None = None
        self._attached: dict[str, object] = {}
        self._held: set[Fact] = set()

    def before_pass(self, step: Step) -> None:
        """Records what may be lost."""
        self._meta = MetaState.of(step.before)
        self._attached = dict(step.graph_module.meta)
        self._held.update(needs_of(step.pass_))
        candidates = {*self._held, *getattr(step.pass_, "preserves", ())}
        self._held = {fact for fact in candidates if fact.holds(step.graph_module)}

    def after_pass(self, step: Step) -> None:
        """Raises `FalseClaimError` if a claim is false."""
        if step.claimed and not self._is_changed(step):
            raise FalseClaimError(f"{_which(step)} returned modified=True, but it changed nothing.")
        provides: frozenset[Fact] = getattr(step.pass_, "provides", frozenset())
        preserves: frozenset[Fact] = getattr(step.pass_, "preserves", frozenset())
        for fact in sorted(provides, key=str):
            if not fact.holds(step.graph_module):
                raise FalseClaimError(f"{_which(step)} claims to provide {fact.name!r}, which does not hold after it.")
        for fact in sorted(self._held, key=str):
            if fact in preserves and not fact.holds(step.graph_module):
                raise FalseClaimError(f"{_which(step)} claims to preserve {fact.name!r}, which it lost.")
        self._held.update(provides)

    def _is_changed(self, step: Step) -> bool:
        if step.change and structural_hash(step.before, names=True) != structural_hash(step.after, names=True):
            return True
        if step.change.modules or not same_value(self._attached, dict(step.graph_module.meta), operator.is_):
            return True
        return self._meta is not None and bool(compare_meta(self._meta, MetaState.of(step.after)))


def _which(step: Step) -> str:
    return f"{step.name} (pass {place_text(step.position)})"
