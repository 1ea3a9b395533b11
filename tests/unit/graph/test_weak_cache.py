"""`weakly_cached` computes once, keeps nothing alive, and takes what it cannot remember."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from torch import nn

from fxpasses.feature_extraction import create_feature_extractor
from fxpasses.graph.weak_cache import weakly_cached


def test_each_key_is_computed_once() -> None:
    seen: list[type] = []

    @weakly_cached
    def name_of(kind: type) -> str:
        seen.append(kind)
        return kind.__name__

    assert [name_of(int), name_of(str), name_of(int)] == ["int", "str", "int"]
    assert seen == [int, str]


def test_a_result_of_none_is_remembered() -> None:
    seen: list[type] = []
    cached = weakly_cached(seen.append)
    assert cached(int) is cached(int) is None
    assert seen == [int]


def test_a_key_that_only_the_cache_knows_is_forgotten() -> None:
    seen: list[str] = []

    @weakly_cached
    def note(kind: type) -> None:
        seen.append(kind.__name__)

    made = type("Made", (), {})
    note(made)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
    assert seen == ["Made"]


def test_what_cannot_be_remembered_is_computed_each_time() -> None:
    class Unhashable:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

    seen: list[Any] = []
    cached = weakly_cached(lambda key: seen.append(key))
    for key in (Unhashable(), 1, (2,)):  # neither a number nor a tuple has weak references
        cached(key)
        cached(key)
    assert len(seen) == 6


def test_a_class_goes_with_its_last_model_and_extractor() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1

    gone = weakref.ref(Model)
    create_feature_extractor(Model(), ["add"])
    del Model
    gc.collect()
    assert gone() is None
