from __future__ import annotations

import pytest

from fxpasses.errors import PipelineSyntaxError
from fxpasses.manager.text.grammar import PassText, Word, quoted, read, unquoted


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("", '""'),
        ("it's", '"it\'s"'),
        ('a "b"', r'"a \"b\""'),
        ("two\nlines", r'"two\nlines"'),
        ("a\ttab", r'"a\ttab"'),
        ("a\rreturn", r'"a\rreturn"'),
        (r"C:\new", r'"C:\\new"'),
    ],
)
def test_any_string_is_written_on_one_line_and_read_back(text: str, literal: str) -> None:
    assert quoted(text) == literal
    assert unquoted(literal) == text
    assert read(f"a{{b={literal}}}") == (PassText("a", {"b": text}),)


def test_a_list_may_be_empty() -> None:
    assert read("a{b=[], c=[[], d]}") == (PassText("a", {"b": [], "c": [[], Word("d")]}),)


def test_a_backslash_before_anything_else_stands_for_what_follows_it() -> None:
    assert read(r"""a{b='it\'s \x'}""") == (PassText("a", {"b": "it's x"}),)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a{=1}", "expected the name of an option, found '=':\n  a{=1}\n    ^"),
        ("a(b", "expected ')', found the end:\n  a(b\n     ^"),
        ("a(b  ", "expected ')', found the end:\n  a(b  \n     ^"),
        ("a{b=1, b=2}", "the option 'b' is given twice, found 'b':\n  a{b=1, b=2}\n         ^"),
        ('ab,  "c', 'a string that does not end:\n  ab,  "c\n       ^'),
        ("a, b{c='d\", e", "a string that does not end:\n  a, b{c='d\", e\n         ^"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, shown: str) -> None:
    with pytest.raises(PipelineSyntaxError) as caught:
        read(text)
    assert str(caught.value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a,\n  b c,\n  d", "expected ',' or the end, found 'c':\n    b c,\n      ^"),
        ("a(\n  b\n", "expected ')', found the end:\n    b\n     ^"),
        ("a,\nb, 'c\n", "a string that does not end:\n  b, 'c\n     ^"),
        ("\na b\n", "expected ',' or the end, found 'b':\n  a b\n    ^"),
        ("a b,\n  c", "expected ',' or the end, found 'b':\n  a b,\n    ^"),
    ],
)
def test_of_a_text_of_several_lines_the_line_of_the_mistake_is_shown(text: str, shown: str) -> None:
    with pytest.raises(PipelineSyntaxError) as caught:
        read(text)
    assert str(caught.value) == shown
