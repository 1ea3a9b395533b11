from __future__ import annotations

import math
import os
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from fxpasses.errors import PipelineSyntaxError
from fxpasses.manager.text.grammar import Word
from fxpasses.manager.text.values import import_path, imported, text_of, text_of_word, value_of

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


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a function that is called as its module is, and a module two levels down that nobody imports."""
    (tmp_path / "garden" / "shed").mkdir(parents=True)
    (tmp_path / "garden" / "__init__.py").write_text("from garden.rake import rake\n")
    (tmp_path / "garden" / "rake.py").write_text("def rake(): ...\n")
    (tmp_path / "garden" / "shed" / "__init__.py").write_text("")
    (tmp_path / "garden" / "shed" / "spade.py").write_text("class Spade:\n    def dig(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "garden"
    for name in [name for name in sys.modules if name.split(".")[0] == "garden"]:
        del sys.modules[name]


def test_a_path_leads_through_modules_that_are_not_imported_yet(package: str) -> None:
    dig = imported(f"{package}.shed.spade.Spade.dig")
    assert dig.__qualname__ == "Spade.dig"
    assert imported(import_path(dig) or "") is dig


def test_what_a_package_calls_by_a_name_comes_before_its_module_of_that_name(package: str) -> None:
    assert imported(f"{package}.rake").__name__ == "rake"
    assert import_path(imported(f"{package}.rake")) is None  # for `garden.rake.rake` leads to nothing in the function


def test_a_module_that_goes_by_another_name_has_what_its_path_says() -> None:
    assert imported("os.path.join") is os.path.join


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "torch.nn.Linaer",
            r"'torch.nn.Linaer' leads nowhere: torch.nn has no 'Linaer'. Did you mean Linear or .*\? Quote it",
        ),
        ("json.decoder.xyz", r"'json.decoder.xyz' leads nowhere: json.decoder has no 'xyz'. Quote it"),
        ("nowhere.at.all", "'nowhere.at.all' leads nowhere: there is no module 'nowhere'."),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far_it_went(path: str, message: str) -> None:
    with pytest.raises(PipelineSyntaxError, match=message):
        imported(path)


def test_what_has_no_name_has_no_path() -> None:
    assert import_path(partial(print)) is None
