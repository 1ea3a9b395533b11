from __future__ import annotations

import sys

import pytest

from fxpasses.cli.output import print_table
from fxpasses.errors import MissingExtraError


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("PIL", ("--image", "red.png")), ("safetensors", ("--out", "f.safetensors"))],
)
def test_a_missing_extra_is_named_with_its_remedy(fail, monkeypatch, missing, arguments):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert 'pip install "fxpasses[cli]"' in fail("extract", "tiny_models:Tiny", "conv", "--size", "8", *arguments)


def test_a_missing_extra_is_an_import_error():
    assert issubclass(MissingExtraError, ImportError)


def test_a_terminal_gets_the_columns_too(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    print_table(("name", "shape"), [("a[0]", "1x3")])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if "a" in line] == [
        ["name", "shape"],
        ["a[0]", "1x3"],
    ]


def test_a_terminal_without_rich_gets_plain_text(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table(("name", "shape"), [("x", "1x3")])
    assert capsys.readouterr().out == "name  shape\nx     1x3\n"
