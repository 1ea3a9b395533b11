"""Whether every pass of a pipeline gets the facts that it needs, decided before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import fx

from fxpasses.errors import UnmetNeedError
from fxpasses.graph.facts import Fact
from fxpasses.manager.contract import PassLike
from fxpasses.manager.names import pass_name
from fxpasses.manager.registry import providers_of


class Placed(NamedTuple):
    """A pass that is no pipeline itself, and its place; see `fxpasses.errors.PassError.position`."""

    pass_: PassLike
    position: tuple[int, ...]


def needs_of(pass_: PassLike) -> list[Fact]:
    """Returns the facts that `pass_` declares to need, in a fixed order."""
    return sorted(getattr(pass_, "needs", frozenset[Fact]()), key=str)


def facts_after(pass_: PassLike, known: Iterable[Fact], *, changed: bool) -> set[Fact]:
    """Returns which of the facts known before `pass_` are known after it.

    A function declares nothing, so nothing is known after it unless it changed nothing.
    """
    preserves = getattr(pass_, "preserves", frozenset[Fact]())
    provides = getattr(pass_, "provides", frozenset[Fact]())
    return {fact for fact in known if fact in preserves or not changed} | {*provides}


def check_needs(passes: Iterable[Placed], graph_module: fx.GraphModule) -> set[Fact]:
    """Raises `UnmetNeedError` for the first pass whose needs cannot hold when its turn comes.

    Behind a function, which declares nothing, a fact may hold or not: it is tested when the turn comes.

    Returns:
        The facts that were tested on `graph_module` and hold.
    """
    done: list[Placed] = []
    holding: set[Fact] = set()
    for placed in passes:
        for fact in needs_of(placed.pass_):
            lost_by = _last_word(fact, done)
            if isinstance(lost_by, Placed):
                raise unmet(placed, fact, f", and {_at(lost_by)} does not preserve it")
            if lost_by is None and fact not in holding:
                if not fact.holds(graph_module):
                    raise unmet(placed, fact, ", which does not hold, and nothing before it provides it")
                holding.add(fact)
        done.append(placed)
    return holding


def _last_word(fact: Fact, done: list[Placed]) -> Placed | str | None:
    """Returns the pass that loses `fact`, "provided" or "unknown", or None if the input decides."""
    for placed in reversed(done):
        if fact in getattr(placed.pass_, "provides", ()):
            return "provided"
        if not hasattr(placed.pass_, "preserves"):
            return "unknown"
        if fact not in getattr(placed.pass_, "preserves", ()):
            return placed
    return None


def unmet(placed: Placed, fact: Fact, reason: str) -> UnmetNeedError:
    """Makes the error for a need that does not hold, with the passes that could provide it."""
    providers = providers_of(fact)
    advice = f"Put {' or '.join(providers)} before it." if providers else "Put a pass that provides it before it."
    message = f"{_at(placed)} needs the fact {fact.name!r}{reason}. {advice}"
    return UnmetNeedError(message, pass_=placed.pass_, position=placed.position)


def _at(placed: Placed) -> str:
    return f"{pass_name(placed.pass_)} (pass {place_text(placed.position)})"


def place_text(position: tuple[int, ...]) -> str:
    """Spells a position, counted from 1: `3`, or `3.1` for the first pass of the pipeline at 3.

    Example:
        >>> place_text((2, 0))
        '3.1'
    """
    return ".".join(str(index + 1) for index in position)


def enumerated(passes: Iterable[PassLike], prefix: tuple[int, ...] = ()) -> Iterator[Placed]:
    """Yields passes with their positions under `prefix`."""
    for index, pass_ in enumerate(passes):
        yield Placed(pass_, (*prefix, index))
