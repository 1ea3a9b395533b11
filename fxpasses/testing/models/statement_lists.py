"""Statements as they are drawn: where a list of them ends, and in which order its bytes come, for a shrinker's sake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter

from fxpasses.testing.models.interpreter import STATEMENT
from fxpasses.testing.models.statements import CODES

LISTS = 3
# The last byte of what is drawn says the kind; these values of it say that a list ends, and all beyond are kinds.
ENDERS = 255 - len(CODES)
# A shrinker writes zeros from the front, and sorts: what a small model needs comes last, the operation, the name, the kind.
_in_order = itemgetter(5, 3, 2, 1, 0, 4)


def statements_of(draw: Callable[[], bytes], enders: int = ENDERS) -> Iterator[bytes]:
    """The statements of a spec, each drawn when it is read: a model that is full asks for no more.

    There are three lists, so that few models are long. A statement of zeros is the simplest one, and two of them in a row
    end the model: a shrinker that writes zeros makes a model simpler, and no longer than it was.

    Args:
        draw: Gives six bytes a call: what the statement means but for its kind, and the kind.
        enders: Up to which kind a list ends, at most `ENDERS`: the fewer, the longer are the lists.

    Example:
        >>> zeros, ender = bytes(6), bytes([0, 0, 0, 0, 0, 1])
        >>> [list(each) for each in statements_of(iter([zeros, ender, bytes([9, 0, 0, 0, 7, 50]), ender, ender]).__next__)]
        [[0, 0, 0, 0, 0, 0], [7, 0, 0, 0, 9, 7]]
        >>> list(statements_of(iter([zeros, zeros]).__next__))
        []
    """
    lists, waiting = LISTS, False
    while lists:
        drawn = draw()
        if waiting:
            if not any(drawn):
                return
            yield bytes(STATEMENT)
        waiting = not any(drawn)
        if 0 < drawn[-1] <= enders:
            lists -= 1
        elif not waiting:
            kind, *others = _in_order(drawn)
            yield bytes([kind - ENDERS - 1 if kind > ENDERS else kind, *others])
