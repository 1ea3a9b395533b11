from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from torch import fx

from fxpasses.manager import Pass, PassManager, PassResult

HERE = __name__


@dataclass(frozen=True)
class Options(Pass):
    words: tuple[str, ...] = ()
    counts: list[int] = field(default_factory=list)
    kinds: frozenset[str] = frozenset()
    axes: int | tuple[int, ...] = 0
    keys: str | tuple[str, ...] = ""
    layers: Literal["all"] | tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] | None = ("a",)
    mode: Literal["fast", "exact"] = "exact"
    word: str = ""

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


class AnyNumber(Pass):
    def __init__(self, *words: str, **options: str) -> None:
        """Takes as many as there are."""

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this module importable under its name, as a pass's own package would be."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("words=a", ("a",)),
        ("words=[a, b]", ("a", "b")),
        ("counts=1", [1]),
        ("counts=[1, 2]", [1, 2]),
        ("kinds=a", frozenset({"a"})),
        ("kinds=[a, b]", frozenset({"a", "b"})),
        ("axes=1", 1),
        ("axes=[1]", (1,)),
        ("keys=a", "a"),
        ("keys=[a]", ("a",)),
        ("layers=all", "all"),
        ("layers=[all]", ("all",)),
        ("pairs=[[a, b]]", (("a", "b"),)),
        ("names=none", None),
        ("names=b", ("b",)),
        ("mode=fast", "fast"),
        ("word=a", "a"),
        ("word=[a, b]", ["a", "b"]),
    ],
)
def test_a_value_becomes_what_the_option_takes_where_it_can(option: str, value: object) -> None:
    (pass_,) = PassManager.parse(f"{HERE}.Options{{{option}}}").passes
    found: Any = getattr(pass_, option.split("=")[0])
    assert found == value
    assert type(found) is type(value)


def test_a_pass_that_takes_any_number_of_arguments_needs_none() -> None:
    (pass_,) = PassManager.parse(f"{HERE}.AnyNumber").passes
    assert type(pass_) is AnyNumber
    assert str(PassManager([pass_])) == f"{HERE}.AnyNumber"


class Untyped(Pass):
    """Has an option without an annotation."""

    def __init__(self, size=0) -> None:
        object.__setattr__(self, "size", size)

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@pytest.mark.parametrize(("text", "size"), [("3", 3), ("[3]", [3]), ("{a=3}", {"a": 3})])
def test_an_option_without_an_annotation_takes_a_value_as_it_is(text: str, size: object) -> None:
    (pass_,) = PassManager.parse(f"{HERE}.Untyped{{size={text}}}").passes
    assert getattr(pass_, "size", None) == size
