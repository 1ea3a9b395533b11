from __future__ import annotations

import math
import sys
from enum import Enum
from types import ModuleType

import pytest

from fxpasses.manager.text.grammar import Word
from fxpasses.manager.text.values import text_of, text_of_word, value_of

CONSTANTS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
    "inf": math.inf,
    "-inf": -math.inf,
}


@pytest.mark.parametrize(("word", "value"), CONSTANTS.items())
def test_a_constant_reads_as_its_value_in_the_spelling_of_python_too(word: str, value: object) -> None:
    assert value_of(Word(word)) == value
    assert type(value_of(Word(word))) is type(value)
    assert value_of(Word(text_of(value))) == value


def test_nan_is_a_number_in_text_too() -> None:
    value = value_of(Word(text_of(math.nan)))
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("word", [*CONSTANTS, "nan"])
def test_a_string_that_looks_like_a_constant_is_quoted(word: str) -> None:
    assert text_of_word(word) == f'"{word}"'


def test_a_path_into_a_module_that_was_made_by_hand_is_a_mere_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    assert value_of(Word("made_by_hand.conv")) == "made_by_hand.conv"


def test_the_name_of_a_module_alone_is_a_mere_string() -> None:
    assert value_of(Word("json")) == "json"


class Mode(str, Enum):
    FAST = "fast"


def test_a_member_of_an_enumeration_is_written_as_its_path_even_if_it_is_a_string(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    assert text_of(Mode.FAST) == f"{__name__}.Mode.FAST"
    assert value_of(Word(text_of(Mode.FAST))) is Mode.FAST


def test_a_set_is_written_in_a_fixed_order() -> None:
    assert text_of(frozenset("hbfdaceg")) == text_of(set("gecadfbh")) == "[a, b, c, d, e, f, g, h]"
