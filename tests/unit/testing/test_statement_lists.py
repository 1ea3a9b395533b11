"""What is drawn, and the statements that it means."""

from __future__ import annotations

from collections import Counter

import pytest

from fxpasses.testing.models.statement_lists import ENDERS, LISTS, statements_of
from fxpasses.testing.models.statements import CODES

ZEROS, ENDER = bytes(6), bytes([0, 0, 0, 0, 0, 1])


def _kind(byte: int) -> bytes:
    return bytes([0, 0, 0, 0, 0, byte])


def _read(*drawn: bytes, enders: int = ENDERS) -> list[bytes]:
    """The statements that are meant; all that is given must be drawn."""
    waiting = iter(drawn)
    statements = list(statements_of(waiting.__next__, enders))
    assert not list(waiting)
    return statements


def test_a_model_ends_with_its_last_list() -> None:
    assert _read(*[ENDER] * LISTS) == []
    assert len(_read(*[_kind(99), ENDER] * LISTS)) == LISTS


def test_two_statements_of_zeros_end_a_model_and_mean_nothing() -> None:
    assert _read(_kind(99), ZEROS, ZEROS) == _read(_kind(99), *[ENDER] * LISTS)


@pytest.mark.parametrize("after", [[ENDER] * LISTS, [_kind(99), *[ENDER] * LISTS], [_kind(99), ZEROS, ZEROS]])
def test_one_statement_of_zeros_is_the_simplest_one(after: list[bytes]) -> None:
    assert _read(ZEROS, *after) == [ZEROS, *_read(*after)]


def test_zeros_that_are_apart_end_nothing() -> None:
    assert _read(ZEROS, ENDER, ZEROS, ENDER, ZEROS, ENDER) == [ZEROS] * 3


def test_each_code_but_the_enders_is_said_by_one_byte() -> None:
    said = Counter(_read(_kind(byte), *[ENDER] * LISTS)[0][0] for byte in range(ENDERS + 1, 256))
    assert said == Counter(range(len(CODES)))


def test_with_fewer_enders_the_others_keep_their_meaning() -> None:
    for byte in range(ENDERS + 1, 256):
        assert _read(_kind(byte), *[ENDER] * LISTS, enders=10) == _read(_kind(byte), *[ENDER] * LISTS)
    said = [_read(_kind(byte), *[ENDER] * LISTS, enders=10)[0][0] for byte in range(11, ENDERS + 1)]
    assert said == list(range(11, ENDERS + 1))


def test_the_kind_comes_first_and_the_name_last() -> None:
    assert _read(bytes([5, 4, 3, 2, 6, 50]), *[ENDER] * LISTS) == [bytes([50 - ENDERS - 1, 2, 3, 4, 5, 6])]


def test_nothing_is_drawn_before_it_is_read() -> None:
    drawn: list[int] = []

    def draw() -> bytes:
        drawn.append(1)
        return _kind(99)

    statements = statements_of(draw)
    next(statements)
    next(statements)
    assert len(drawn) == 2
