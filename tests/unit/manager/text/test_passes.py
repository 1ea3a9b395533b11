from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from torch import fx

from fxpasses.manager import Pass, PassManager, PassResult, StopAfter

if TYPE_CHECKING:
    from decimal import Decimal

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
    groups: frozenset[frozenset[str]] = frozenset()
    tables: tuple[Mapping[str, str], ...] = ()
    names: tuple[str, ...] | None = ("a",)
    mode: Literal["fast", "exact"] = "exact"
    word: str = ""

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


class AnyNumber(Pass):
    def __init__(self, *words: str, **options: str) -> None:
        """Keeps as many as there are."""
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "options", options)

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
        ("groups=[[a, b]]", frozenset({frozenset({"a", "b"})})),
        ("tables=[{a=b}]", ({"a": "b"},)),
        ("names=none", None),
        ("names=b", ("b",)),
        ("mode=fast", "fast"),
        ("word=a", "a"),
        ("word=[a, b]", ["a", "b"]),
    ],
)
def test_a_value_becomes_what_the_option_takes_where_it_can_and_is_written_as_it_was(
    option: str, value: object
) -> None:
    (pass_,) = PassManager.parse(f"{HERE}.Options{{{option}}}").passes
    found: Any = getattr(pass_, option.split("=")[0])
    assert found == value
    assert type(found) is type(value)
    assert str(PassManager([pass_])) == f"{HERE}.Options{{{option}}}"


def test_a_pass_that_takes_any_number_of_arguments_needs_none() -> None:
    (pass_,) = PassManager.parse(f"{HERE}.AnyNumber").passes
    assert type(pass_) is AnyNumber
    assert str(PassManager([pass_])) == f"{HERE}.AnyNumber"


def test_arguments_in_any_number_are_left_out_of_the_text_which_could_not_be_read_with_them() -> None:
    text = str(PassManager([AnyNumber("a", b="c")]))
    assert text == f"{HERE}.AnyNumber"
    assert type(PassManager.parse(text).passes[0]) is AnyNumber


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
    assert str(PassManager([pass_])) == f"{HERE}.Untyped{{size={text}}}"


@dataclass(frozen=True)
class Unresolved(Pass):
    """Has an annotation that only a type checker can resolve."""

    size: Decimal | int = 0
    words: tuple[str, ...] = ()

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


def test_an_annotation_that_only_a_type_checker_can_resolve_leaves_the_values_as_they_are() -> None:
    (pass_,) = PassManager.parse(f"{HERE}.Unresolved{{size=3, words=[a]}}").passes
    assert (getattr(pass_, "size", None), getattr(pass_, "words", None)) == (3, ["a"])
    assert str(PassManager([pass_])) == f"{HERE}.Unresolved{{size=3, words=[a]}}"


@dataclass(frozen=True)
class Keys(Pass):
    keys: Mapping[str, str] | tuple[str | tuple[str, ...], ...] | None

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({"a": "b"}, "a=b"),
        ({}, "keys={}"),
        (("a", "bc"), "keys=[a, bc]"),
        (("bc",), "keys=bc"),
        ((("a", "b", "c"),), "keys=[[a, b, c]]"),
        ((("a", "b"), "c"), "keys=[[a, b], c]"),
        (None, "keys=none"),
    ],
)
def test_a_mapping_is_written_as_entries_and_what_may_stand_in_its_place_as_it_is(
    keys: Mapping[str, str] | tuple[str | tuple[str, ...], ...] | None, options: str
) -> None:
    manager = PassManager([Keys(keys)])
    assert str(manager) == f"{HERE}.Keys{{{options}}}"
    assert PassManager.parse(str(manager)) == manager


def test_a_single_mapping_of_any_kind_in_a_list_stays_in_the_list() -> None:
    manager = PassManager([Options(tables=(MappingProxyType({"a": "b"}),))])
    assert str(manager) == f"{HERE}.Options{{tables=[{{a=b}}]}}"


@dataclass(frozen=True)
class Scale(Pass):
    by: torch.Tensor = torch.ones(2)  # noqa: RUF009
    most: float = float("nan")

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@pytest.mark.parametrize(
    ("pass_", "options"),
    [(Scale(), ""), (Scale(by=torch.zeros(2)), "{by=<Tensor>}"), (Scale(most=2.0), "{most=2.0}")],
)
def test_an_option_is_written_unless_it_is_the_default_even_where_equality_cannot_tell(
    pass_: Pass, options: str
) -> None:
    assert str(PassManager([pass_])) == f"{HERE}.Scale{options}"


class Wrapped:
    """Calls a function and goes by its name, as a decorator's object does."""

    def __init__(self, function: Callable[[fx.GraphModule], None]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, graph_module: fx.GraphModule) -> None:
        self.function(graph_module)


def test_a_wrapped_function_that_cannot_be_imported_is_not_taken_for_its_wrapper() -> None:
    def local(graph_module: fx.GraphModule) -> None:
        pass

    assert str(PassManager([Wrapped(local)])) == "<local>"


def test_the_instruments_of_a_pipeline_inside_another_are_no_part_of_the_text() -> None:
    inner = PassManager([Options()], instruments=[StopAfter(1)])
    assert str(PassManager([inner])) == f"pipeline({HERE}.Options)"
