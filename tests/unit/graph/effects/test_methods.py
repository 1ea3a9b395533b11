"""What is said of calls of methods, whatever they are methods of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from unit.graph.effects.seen_calls import see

from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.effects.behaviour import UNKNOWN, Behaviour, Kind
from fxpasses.graph.effects.methods import behaviour_of_method, kind_of_attribute, stores_item


@pytest.mark.parametrize("name", ["linear", "embedding", "new_state", "step"])
def test_of_a_method_that_no_tensor_has_nothing_is_said(name: str) -> None:
    assert not hasattr(torch.Tensor, name)
    assert behaviour_of_method(name, ("x", "y"), {}) is None


@pytest.mark.parametrize("name", sorted(each for each in dir(torch.Tensor) if each.startswith("new_")))
def test_a_new_tensor_is_fresh(name: str) -> None:
    args: dict[str, tuple[Any, ...]] = {
        "new_full": ((2,), 1.0),
        "new_tensor": (torch.ones(2),),
        "new_empty_strided": ((2,), (1,)),
    }
    seen = see(_method(name), torch.ones(2), *args.get(name, ((2,),)))
    said = behaviour_of_method(name, seen.args, {})
    assert said is not None
    assert not said.writes | said.returns | seen.writes | seen.returns


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args: getattr(owner, name)(*args)


@pytest.mark.parametrize("name", ["sort", "eq", "ne", "dequantize"])
def test_a_method_of_tensors_that_shares_its_name_with_an_operator_on_lists_writes_nothing(name: str) -> None:
    said = behaviour_of_method(name, ("x", "y"), {})
    assert said is not None
    assert not said.writes
    assert said.kind == ("any" if name == "sort" else "tensor")


def test_a_tensor_that_is_set_to_another_shares_its_memory() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x", type_expr=torch.Tensor), graph.placeholder("y", type_expr=torch.Tensor)
    taken = graph.call_function(torch.Tensor.set_, (x, y))
    graph.output((graph.call_method("mul_", (taken, 2)), y))
    written = next(node for node in graph.nodes if node.target == "mul_")
    assert analyze_effects(fx.GraphModule(nn.Module(), graph)).may_write(written, y)
    said = behaviour_of_method("set_", ("x", "y"), {})
    assert said is not None
    assert said.links
    assert said.writes >= {0}


@pytest.mark.parametrize(
    ("index", "behaviour"),
    [
        (slice(None), Behaviour(writes=frozenset([0]))),
        ((0, slice(None)), Behaviour(writes=frozenset([0]))),
        (..., Behaviour(writes=frozenset([0]))),
        ([0, 1], Behaviour(writes=frozenset([0]))),
        (None, Behaviour(writes=frozenset([0]), links=True)),
        (0, Behaviour(writes=frozenset([0]), links=True)),
        (UNKNOWN, Behaviour(writes=frozenset([0]), links=True)),
        ("key", Behaviour(writes=frozenset([0]), links=True, rebuilds=True)),
    ],
    ids=str,
)
def test_an_item_is_stored_unless_its_index_is_one_of_tensors_alone(index: object, behaviour: Behaviour) -> None:
    assert stores_item(("x", index, "y")) == behaviour
    assert stores_item(("x", index)) == behaviour


def test_an_item_whose_index_is_passed_by_keyword_may_be_stored() -> None:
    assert stores_item(("x",)).links


@pytest.mark.parametrize(
    ("name", "args"), [("unique", ()), ("lu", ()), ("to_sparse_coo", ()), ("item", ()), ("tolist", ())]
)
def test_a_method_that_is_written_in_python_and_makes_something_new_touches_no_memory(
    name: str, args: tuple[object, ...]
) -> None:
    seen = see(_method(name), torch.ones((1, 1)), *args)
    said = behaviour_of_method(name, seen.args, {})
    assert said is not None
    assert not said.writes | said.returns | seen.writes | seen.returns


@pytest.mark.parametrize(
    ("name", "owner", "kind"),
    [
        ("T", "tensor", "tensor"),
        ("data", "tensor", "tensor"),
        ("data", "any", "any"),
        ("grad", "tensor", "any"),
        ("my_own", "tensor", "any"),
        ("shape", "tensor", "none"),
        ("shape", "any", "none"),
    ],
)
def test_an_attribute_of_a_tensor_is_a_tensor_only_if_it_is_always_one(name: str, owner: Kind, kind: Kind) -> None:
    assert kind_of_attribute(name, owner) == kind


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "kind"),
    [
        ("float", ("x",), {}, "tensor"),
        ("cpu", ("x",), {}, "tensor"),
        ("type", ("x", torch.float64), {}, "tensor"),
        ("type", ("x", torch.float64), {"non_blocking": True}, "tensor"),
        ("type", ("x",), {"dtype": torch.float64}, "tensor"),
        ("to", ("x", "cpu"), {}, "any"),
        ("numpy", ("x",), {}, "any"),
        ("untyped_storage", ("x",), {}, "any"),
    ],
)
def test_a_conversion_may_return_what_it_was_given_and_what_it_makes_may_be_no_tensor(
    name: str, args: tuple[object, ...], kwargs: dict[str, object], kind: Kind
) -> None:
    assert behaviour_of_method(name, args, kwargs) == Behaviour(returns=frozenset([0]), kind=kind)
