"""The laws of extraction, over generated models and in every capture.

The oracles are eager execution, with values cloned by hooks, and an interpreter of the unpruned graph that clones each
value when it is made.
"""

from __future__ import annotations

import copy
import pickle
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from support.captures import OverCaptures
from support.generated import (
    Prepared,
    deterministic_cases,
    extractor,
    named_capture,
    names,
    small_cases,
    some_of,
    values_at_birth,
)
from support.oracle import Calls, assert_bit_equal
from support.state import ModelState
from torch.utils import _pytree as pytree

from fxpasses.errors import UnknownNodeError
from fxpasses.feature_extraction.captures import CaptureName
from fxpasses.testing import Case

over_cases = OverCaptures(small_cases, st.data())
over_deterministic_cases = OverCaptures(deterministic_cases, st.data())


@over_cases.law
def test_a_capture_computes_what_the_model_computes(capture: CaptureName, case: Case) -> None:
    expected = Prepared.of(case)
    prepared = Prepared.of(case)
    captured = prepared.captured(case, capture)
    assert_bit_equal(prepared.run(captured), expected.run(expected.module))
    for ours, theirs in zip(prepared.module.buffers(), expected.module.buffers(), strict=True):
        assert_bit_equal(ours, theirs, "a buffer after the call")


@over_cases.law
def test_value_at_birth(capture: CaptureName, case: Case) -> None:
    expected = values_at_birth(case, capture)
    prepared = Prepared.of(case)
    wanted = [name for name in expected if name]
    features = prepared.run(extractor(case, prepared.module, wanted, capture))
    assert list(features) == wanted
    for name in wanted:
        assert_bit_equal(features[name], expected[name], name)


@over_deterministic_cases.law
def test_company_and_order_change_no_value(capture: CaptureName, case: Case, data: st.DataObject) -> None:
    expected = values_at_birth(case, capture)
    prepared = Prepared.of(case)
    wanted = some_of(data, [name for name in expected if name], min_size=1, max_size=4)
    features = prepared.run(extractor(case, prepared.module, wanted, capture))
    assert list(features) == wanted
    for name in wanted:
        assert_bit_equal(features[name], expected[name], name)


@over_deterministic_cases.law
def test_effects_that_a_value_depends_on_are_kept(capture: CaptureName, case: Case, data: st.DataObject) -> None:
    expected = values_at_birth(case, capture)
    prepared = Prepared.of(case)
    name = data.draw(st.sampled_from([name for name in expected if name][::-1]))
    assert_bit_equal(prepared.run(extractor(case, prepared.module, [name], capture))[name], expected[name], name)


@lru_cache(maxsize=1)  # for two laws
def _called(case: Case, capture: CaptureName) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """What each submodule returned in each of its calls; and features: all of that, as far as it has tensors."""
    eager = Prepared.of(case)
    torch.default_generator.manual_seed(0)
    returned = Calls(eager.module, *eager.args, **eager.kwargs).returned
    wanted = [path for path, found in returned.items() if path and _has_tensors(found[0])]
    wanted += [name for path, found in returned.items() for name, _ in _further(path, found)]
    if not wanted:
        return returned, {}
    prepared = Prepared.of(case)
    features = prepared.run(extractor(case, prepared.module, wanted, capture))
    assert list(features) == wanted
    return returned, features


def _has_tensors(value: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value))


def _further(path: str, found: list[Any]) -> list[tuple[str, Any]]:
    """The calls of a submodule that is called more than once."""
    calls = [(f"{path}@{index}", value) for index, value in enumerate(found) if _has_tensors(value)]
    return calls if path and len(found) > 1 else []


@over_deterministic_cases.law
def test_a_modules_name_means_the_modules_return_value(capture: CaptureName, case: Case) -> None:
    returned, features = _called(case, capture)
    for path, found in returned.items():
        if path and _has_tensors(found[0]):
            assert_bit_equal(features[path], found[0], path)


@over_deterministic_cases.law
def test_a_further_call_has_a_name_too(capture: CaptureName, case: Case) -> None:
    returned, features = _called(case, capture)
    for path, found in returned.items():
        for name, value in _further(path, found):
            assert_bit_equal(features[name], value, name)


@over_cases.law
def test_the_model_is_left_as_it_was(capture: CaptureName, case: Case, data: st.DataObject) -> None:
    module = case.build().module
    before = ModelState.of(module)
    wanted = some_of(data, names(named_capture(case, capture)), min_size=1, max_size=3)
    extractor(case, module, wanted, capture)
    before.assert_same(module)
    with pytest.raises(UnknownNodeError):
        extractor(case, module, [*wanted, "there is no such node"], capture)
    before.assert_same(module)


@over_deterministic_cases.law
def test_both_modes_survive_copies(capture: CaptureName, case: Case, data: st.DataObject) -> None:
    prepared = Prepared.of(case)
    wanted = some_of(data, names(named_capture(case, capture)), min_size=1, max_size=3)
    original = extractor(case, prepared.module, wanted, capture, both_modes=True)
    for copied in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        again = copy.deepcopy(original)
        assert copied.training is case.training
        assert list(copied.state_dict()) == list(original.state_dict())
        for training in (case.training, not case.training, case.training):
            expected = prepared.with_own_inputs().run(again.train(training))
            assert_bit_equal(prepared.with_own_inputs().run(copied.train(training)), expected, training)


@over_cases.law
def test_parameters_are_the_models_own_and_only_what_is_needed(
    capture: CaptureName, case: Case, data: st.DataObject
) -> None:
    prepared = Prepared.of(case)
    wanted = some_of(data, names(named_capture(case, capture)), min_size=1, max_size=3)
    made = extractor(case, prepared.module, wanted, capture)
    own = {id(tensor) for tensor in [*prepared.module.parameters(), *prepared.module.buffers()]}
    assert all(id(parameter) in own for parameter in made.parameters())
    used = {str(node.target) for graph in made.graphs().values() for node in graph.nodes}
    for name in made.state_dict():
        parts = name.split(".")
        assert any(".".join(parts[:length]) in used for length in range(1, len(parts) + 1)), name
