r"""Pipelines as text: the grammar, its reader and its writer.

    pipeline = [pass {"," pass}]
    pass     = name [options] ["(" pipeline ")"]
    name     = registered name, `pipeline`, `repeat`, or the import path of a pass class or of a function
    options  = "{" [entry {"," entry}] "}"
    entry    = word "=" value
    value    = word | string | "[" [value {"," value}] "]" | options
    word     = anything without space or any of  , = { } [ ] ( ) " '
    string   = any text in " or ', with \n, \t, \r as in Python; a backslash before anything else stands for that

Entries are arguments of the pass's constructor. If the first of those takes a mapping, then entries that name no
argument are that mapping: `prune-to-outputs{layer3=c4}` is `PruneToOutputs({"layer3": "c4"})`. A single value is taken
for a list of one where a list is expected.

A word as a value is `true`, `false`, `none`, a number, or the import path of a class, a function or a constant
(`torchvision.models.resnet.Bottleneck`); any other word stands for itself. A string is never anything but itself.
Reading a pipeline imports what it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from fxpasses.errors import PipelineSyntaxError

Value = object
_Read = TypeVar("_Read")
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[,={}\[\]()])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<word>[^\s,={}\[\]()"']+))"""
)


class Word(NamedTuple):
    """A bare word, before anything is known of what it stands for."""

    text: str


class PassText(NamedTuple):
    """One pass as it is written: its name, its options in order, and the passes inside it, if any."""

    name: str
    options: dict[str, Value]
    inside: tuple[PassText, ...] | None = None


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def read(text: str) -> tuple[PassText, ...]:
    """Reads a pipeline, looking up nothing.

    Raises:
        PipelineSyntaxError: The text does not follow the grammar; the message points at the place.

    Example:
        >>> read("a, repeat{limit=4}(b)")[1]
        PassText(name='repeat', options={'limit': Word(text='4')}, inside=(PassText(name='b', options={}, inside=None),))
    """
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.index = 0

    def whole(self) -> tuple[PassText, ...]:
        found = self.pipeline()
        if self.next.kind != "end":
            raise self.error("expected ',' or the end")
        return found

    @property
    def next(self) -> _Token:
        return self.tokens[self.index]

    def take(self, mark: str) -> bool:
        taken = self.next.text == mark
        self.index += taken
        return taken

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self.error(f"expected {mark!r}")

    def word(self, what: str) -> str:
        token = self.next
        if token.kind not in ("word", "string"):
            raise self.error(f"expected {what}")
        self.index += 1
        return token.text if token.kind == "word" else unquoted(token.text)

    def pipeline(self) -> tuple[PassText, ...]:
        if self.next.kind == "end" or self.next.text == ")":
            return ()
        return tuple(self.several(self.one_pass))

    def several(self, read_one: Callable[[], _Read]) -> list[_Read]:
        found = [read_one()]
        while self.take(","):
            found.append(read_one())
        return found

    def one_pass(self) -> PassText:
        name = self.word("the name of a pass")
        options = self.options() if self.next.text == "{" else {}
        inside = None
        if self.take("("):
            inside = self.pipeline()
            self.need(")")
        return PassText(name, options, inside)

    def options(self) -> dict[str, Value]:
        self.need("{")
        found: dict[str, Value] = {}
        while not self.take("}"):
            name = self.word("the name of an option")
            if name in found:
                raise self.error(f"the option {name!r} is given twice", -1)
            self.need("=")
            found[name] = self.value()
            if not self.take(",") and self.next.text != "}":
                raise self.error("expected ',' or '}'")
        return found

    def value(self) -> Value:
        if self.next.text == "{":
            return self.options()
        if self.take("["):
            found = [] if self.next.text == "]" else self.several(self.value)
            self.need("]")
            return found
        is_word = self.next.kind == "word"
        text = self.word("a value")
        return Word(text) if is_word else text

    def error(self, problem: str, back: int = 0) -> PipelineSyntaxError:
        token = self.tokens[self.index + back]
        found = "the end" if token.kind == "end" else repr(token.text)
        return _error(f"{problem}, found {found}", self.text, token.place)


def _error(problem: str, text: str, place: int) -> PipelineSyntaxError:
    start = text.rfind("\n", 0, place) + 1
    line = text[start:].partition("\n")[0]
    return PipelineSyntaxError(f"{problem}:\n  {line}\n  {' ' * (place - start)}^")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    end = len(text.rstrip())
    place = 0
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise _error("a string that does not end", text, end - len(text[place:end].lstrip()))
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
    return [*found, _Token("end", "", end)]


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def unquoted(literal: str) -> str:
    """Returns what a string literal stands for.

    Example:
        >>> unquoted('"a b"')
        'a b'
    """
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), literal[1:-1], flags=re.DOTALL)


def quoted(text: str) -> str:
    r"""Returns the string literal for `text`.

    Example:
        >>> print(quoted('a "b"'))
        "a \"b\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
