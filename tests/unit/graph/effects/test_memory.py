"""What an item is taken to be, by what it is an item of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_A = fx.Graph().placeholder("a")
_FIRST = frozenset([0])


def _item(a: Any) -> Any:
    return a[0]


def _part(a: Tensor) -> Tensor:
    return a.chunk(2)[0]


def _written_in_a_list(a: Tensor) -> None:
    held = [a]
    item = held[a.dim() - 2]
    item += 1


class _ListsItsChildren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.ModuleDict({"only": nn.ReLU()})

    def forward(self, a: Tensor) -> Any:
        (pair,) = self.table.items()
        return pair


@pytest.mark.parametrize(("kind", "kind_of_item"), [("any", "any"), ("tensor", "tensor"), ("tensors", "tensor")])
def test_an_item_shares_memory_with_what_it_is_an_item_of(kind: Kind, kind_of_item: Kind) -> None:
    behaviour = behaviour_from_source(_item, False, (_A,), {}, lambda _node: kind)
    assert behaviour == Behaviour(returns=_FIRST, kind=kind_of_item)


def test_a_part_of_a_tensor_is_a_tensor() -> None:
    assert behaviour_from_source(_part, False, (_A,), {}) == Behaviour(returns=_FIRST, kind="tensor")


def test_a_write_into_an_item_of_a_list_is_one_into_what_the_list_holds() -> None:
    assert behaviour_from_source(_written_in_a_list, False, (_A,), {}, lambda _node: "tensor").writes == {0}


@pytest.mark.parametrize("sizes", [(2, 3), ((2, 3), (4, 5))])
def test_an_item_of_a_tuple_of_numbers_is_no_tensor(sizes: tuple[object, ...]) -> None:
    assert behaviour_from_source(_item, False, (sizes,), {}) == Behaviour(kind="none")


def test_a_child_and_its_name_are_the_modules_own() -> None:
    behaviour = behaviour_from_source(_ListsItsChildren(), False, (_A,), {}, lambda _node: "tensor")
    assert behaviour == Behaviour(returns=frozenset([STATE]), kind="any")


class _ListsAllItsChildren(_ListsItsChildren):
    def forward(self, a: Tensor) -> Any:
        return self.table.items()


def test_all_children_and_their_names_are_the_modules_own() -> None:
    behaviour = behaviour_from_source(_ListsAllItsChildren(), False, (_A,), {}, lambda _node: "tensor")
    assert behaviour == Behaviour(returns=frozenset([STATE]), kind="any")


class _HandsOutItsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, a: Tensor) -> Tensor:
        return self.weight


def test_a_parameter_is_a_tensor_of_the_module() -> None:
    behaviour = behaviour_from_source(_HandsOutItsWeight(), False, (_A,), {})
    assert behaviour == Behaviour(returns=frozenset([STATE]), kind="tensor")


class _Named(nn.Module):
    """Lists, under a name that `nn.ModuleDict` has too, something else."""

    def __init__(self) -> None:
        super().__init__()
        self.total = nn.Buffer(torch.zeros(2))

    def values(self) -> list[Tensor]:
        return [self.total]


class _WritesWhatIsListed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.named = _Named()

    def forward(self, a: Tensor) -> None:
        for each in self.named.values():
            each.add_(1)


def test_what_a_module_lists_by_a_method_of_its_own_is_what_that_gives() -> None:
    assert behaviour_from_source(_WritesWhatIsListed(), False, (_A,), {}).writes == {STATE}


class _HandsOutItsLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ReLU()

    def forward(self, a: Tensor) -> Any:
        return self.layer


def test_a_child_may_hold_tensors_and_a_function_holds_none() -> None:
    def hands_out_a_function(a: Tensor) -> Any:
        return torch.relu

    assert behaviour_from_source(_HandsOutItsLayer(), False, (_A,), {}).kind == "any"
    assert behaviour_from_source(hands_out_a_function, False, (_A,), {}) == Behaviour(kind="none")


@pytest.mark.parametrize(
    ("one", "other", "either"),
    [
        ("tensor", "tensor", "tensor"),
        ("tensors", "tensors", "tensors"),
        ("tensor", "numeric", "numeric"),
        ("tensor", "none", "any"),
        ("tensor", "tensors", "any"),
        ("numeric", "none", "any"),
    ],
)
def test_what_may_be_one_or_the_other_is_of_a_kind_that_covers_both(one: Kind, other: Kind, either: Kind) -> None:
    def chooses(a: Any, b: Any, c: Any) -> Any:
        return a if c.sum() > 0 else b

    graph = fx.Graph()
    orders: list[tuple[Kind, Kind]] = [(one, other), (other, one)]
    for first, second in orders:
        a, b, c = (graph.placeholder(name) for name in "abc")
        kinds: dict[fx.Node, Kind] = {a: first, b: second, c: "tensor"}
        assert behaviour_from_source(chooses, False, (a, b, c), {}, kinds.__getitem__).kind == either


def test_a_number_that_is_the_same_either_way_is_known() -> None:
    def scales(a: Tensor) -> Tensor:
        scale = 0.5 if a.sum() > 0 else 0.5  # noqa: RUF034 - two numbers that are equal
        return a.clone() if scale < 1 else a.add_(1)

    assert not behaviour_from_source(scales, False, (_A,), {}).writes


def test_a_number_that_is_known_one_way_alone_is_not_known() -> None:
    def scales(a: Tensor) -> Tensor:
        scale = 1 if a.sum() > 0 else a.shape[0]
        return a.clone() if scale < 2 else a.add_(1)

    def scales_the_other_way_round(a: Tensor) -> Tensor:
        scale = a.shape[0] if a.sum() > 0 else 1
        return a.clone() if scale < 2 else a.add_(1)

    for function in (scales, scales_the_other_way_round):
        assert behaviour_from_source(function, False, (_A,), {}).writes == {0}


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 1)])
def test_a_number_that_differs_each_way_is_not_known(one: int, other: int) -> None:
    def scales(a: Tensor) -> Tensor:
        scale = one if a.sum() > 0 else other
        return a.clone() if scale == one else a.add_(1)

    assert behaviour_from_source(scales, False, (_A,), {}).writes == {0}


@pytest.mark.parametrize(("one", "other"), [(True, 1), (1, 1.0)])
def test_numbers_that_are_equal_and_of_two_types_are_told_apart(one: float, other: float) -> None:
    def scales(a: Tensor) -> Tensor:
        scale = one if a.sum() > 0 else other
        return a.add_(1) if isinstance(scale, type_of_other) else a.clone()

    type_of_other = type(other)
    assert behaviour_from_source(scales, False, (_A,), {}).writes == {0}


def test_a_view_or_the_value_itself_is_of_a_kind_that_covers_both() -> None:
    def chooses(a: Any) -> Any:
        return a.view(-1) if a.sum() > 0 else a

    assert behaviour_from_source(chooses, False, (_A,), {}) == Behaviour(returns=_FIRST, kind="any")


class _CallsItsLayerEitherWay(_HandsOutItsLayer):
    def forward(self, a: Tensor) -> Any:
        layer = self.layer if a.sum() > 0 else self.layer  # noqa: RUF034 - one module, looked up twice
        return layer(a)


def test_a_module_that_is_the_same_either_way_is_known() -> None:
    assert behaviour_from_source(_CallsItsLayerEitherWay(), False, (_A,), {}) == Behaviour(kind="tensor")
