"""The changes that mutation testing tries: which there are, and that they take effect in functions that exist already."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest
from planted.changes import changes
from planted.places import places
from planted.swapped import Functions

MODULE = """
import functools
from contextlib import contextmanager

def double(value):
    return value + value

@functools.lru_cache
def cached(value):
    return value + 1

@contextmanager
def opened(value):
    yield value + 1

def nesting(value):
    def inner():
        return value + 1
    return inner()

def counting(value):
    def inner():
        return value + 1
    return inner

class Model:
    @property
    def one(self):
        return 1
    @functools.cached_property
    def two(self):
        return 2
    @staticmethod
    def three():
        return 3
    @classmethod
    def four(cls):
        return 4

kept = counting(1)
"""


def _changed(source: str) -> list[str]:
    return [ast.unparse(place.node) for place in places(ast.parse(source)) if list(changes(place.node))]


@pytest.mark.parametrize(
    "source",
    [
        '"""A text."""', "__all__ = ['one']", "Key = TypeVar('Key', bound='Any')", "Key = int | str",
        "x = cast('Any', y)", "raise ValueError('text' + x)", "x = f'{1 + 1}'", "if TYPE_CHECKING:\n    x = 1",
        "def f(x: 'A | B') -> 'C': ...", "from a import b", "return_ = SomeError('text')", "assert x, 'text'",
    ],
)  # fmt: skip
def test_what_is_only_read_is_left_alone(source: str) -> None:
    assert _changed(source) == []


def test_what_runs_is_changed() -> None:
    source = (
        "def f(x, y=1):\n    if x == 'a' and y:\n        return sorted(x)\n    x.y = [z for z in x if z]\n    warn('b')"
    )
    found = {each.replace("\n", "") for each in _changed(source)}
    assert found == {
        "1", "if x == 'a' and y:    return sorted(x)", "x == 'a' and y", "x == 'a'", "'a'", "return sorted(x)", "sorted(x)",
        "x.y = [z for z in x if z]", " for z in x if z", "warn('b')",
    }  # fmt: skip


def test_a_place_knows_its_lines_and_whether_it_runs_at_once() -> None:
    tree = ast.parse("x = [\n    1,\n]\ndef f():\n    while (2\n    ):\n        return 3\n")
    known = {ast.unparse(place.node): (place.lines, place.in_function) for place in places(tree)}
    assert known["1"] == ((1, 3), False)
    assert known["2"] == ((5, 6), True)
    assert known["3"] == ((7, 7), True)


def test_what_is_put_somewhere_can_be_taken_back() -> None:
    tree = ast.parse("def f(x):\n    print(x)\n    return not x or 1 < x <= 3")
    before = ast.dump(tree, include_attributes=True)
    for place in list(places(tree)):
        for new in list(changes(place.node)):
            place.put(new)
            compile(tree, "changed", "exec")
            assert ast.dump(tree, include_attributes=True) != before
            place.put(place.node)
    assert ast.dump(tree, include_attributes=True) == before


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "swapped_module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("swapped_module")
    del sys.modules["swapped_module"]


@pytest.mark.parametrize(
    ("old", "new", "call", "result"),
    [
        ("value + value", "value - value", "double(1)", 0),
        ("lru_cache\ndef cached(value):\n    return value + 1", "lru_cache\ndef cached(value):\n    return 7", "cached(1)", 7),
        ("yield value + 1", "yield 7", "opened(1).__enter__()", 7),
        ("def inner():\n        return value + 1\n    return inner()", "def inner():\n        return 7 * value\n    return inner()", "nesting(1)", 7),
        ("return value + 1\n    return inner\n", "return value + 6\n    return inner\n", "kept()", 7),
        ("return 1", "return 7", "Model().one", 7),
        ("return 2", "return 7", "Model().two", 7),
        ("return 3", "return 7", "Model.three()", 7),
        ("return 4", "return 7", "Model.four()", 7),
    ],
)  # fmt: skip
def test_a_change_takes_effect_in_functions_that_exist(module, old: str, new: str, call: str, result: int) -> None:
    assert MODULE.count(old) == 1
    file = Path(module.__file__)
    code = compile(MODULE.replace(old, new), str(file), "exec", dont_inherit=True)
    before = eval(call, vars(module))
    assert Functions(file.parent).swap(code)
    assert before != result
    vars(module)["cached"].cache_clear()
    assert eval(call, vars(module)) == result


def test_what_is_no_function_cannot_be_swapped(module) -> None:
    file = Path(module.__file__)
    code = compile(MODULE.replace("kept = counting(1)", "kept = counting(2)"), str(file), "exec", dont_inherit=True)
    assert not Functions(file.parent).swap(code)
