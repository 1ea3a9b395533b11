from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from fxpasses.graph.mode_flags import ModeFlags


class Frozen(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


class KeepsItsFlagElsewhere(nn.Module):
    @property
    def training(self) -> bool:
        return self.mode

    @training.setter
    def training(self, mode: bool) -> None:
        self.mode = mode


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


class Ensemble(nn.Module):
    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.recruit(*members)

    def recruit(self, *members: nn.Module) -> None:
        self._modules = {str(index): member for index, member in enumerate(members)}


def nested() -> nn.Module:
    inner, last = nn.Sequential(nn.Dropout(), nn.ReLU()), nn.ModuleList([nn.Dropout()])
    return nn.Sequential(inner, nn.Linear(2, 2), last, nn.ModuleList(), nn.Sequential(), Ensemble(nn.Dropout()))


def flags_of(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules() if module is not model]


@pytest.mark.parametrize("mode", [True, False])
def test_every_flag_below_the_root_is_set_as_train_sets_it(mode: bool) -> None:
    model, expected = nested(), nested().train(mode)
    model[0][0].train(not mode)
    ModeFlags(model).set(mode)
    assert flags_of(model) == flags_of(expected)


def test_a_module_with_a_train_of_its_own_gets_the_call() -> None:
    model = nn.Sequential(Frozen(2), nn.Dropout())
    ModeFlags(model).set(True)
    assert flags_of(model) == [False, True]


def test_a_module_that_was_given_another_train_gets_the_call() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    object.__setattr__(model[0], "train", lambda mode=True: nn.Module.train(model[0], False))
    ModeFlags(model).set(True)
    assert flags_of(model) == [False, True]


def test_a_flag_that_is_kept_elsewhere_is_set_there() -> None:
    model = nn.Sequential(KeepsItsFlagElsewhere(), nn.Dropout())
    ModeFlags(model).set(False)
    assert flags_of(model) == [False, False]


def replaces(model: nn.Module) -> None:
    model[0][0] = nn.Dropout()


def replaces_behind_the_back(model: nn.Module) -> None:
    model[0]._modules["0"] = nn.Dropout()


def deletes(model: nn.Module) -> None:
    del model[0][0]


def deletes_and_appends(model: nn.Module) -> None:
    last = model[2]
    del last[0]
    last.append(nn.Dropout())


def deletes_nothing_and_appends(model: nn.Module) -> None:
    del model[2][:0]
    model[2].append(nn.Dropout())


def deletes_nothing_of_an_empty_list_and_appends(model: nn.Module) -> None:
    del model[3][:]
    model[3].append(nn.Dropout())


def deletes_nothing_of_an_empty_sequence_and_appends(model: nn.Module) -> None:
    del model[4][:]
    model[4].append(nn.Dropout())


def makes_new_children(model: nn.Module) -> None:
    model[5].recruit(nn.Dropout())


def adds_below_a_leaf(model: nn.Module) -> None:
    parametrize.register_parametrization(model[1], "weight", Doubled())


def adds_at_the_top(model: nn.Module) -> None:
    model.add_module("more", nn.Dropout())


CHANGES = [
    replaces,
    replaces_behind_the_back,
    deletes,
    deletes_and_appends,
    deletes_nothing_and_appends,
    deletes_nothing_of_an_empty_list_and_appends,
    deletes_nothing_of_an_empty_sequence_and_appends,
    makes_new_children,
    adds_below_a_leaf,
    adds_at_the_top,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_the_modules_shows(change: Callable[[nn.Module], None]) -> None:
    model = nested()
    flags = ModeFlags(model)
    assert flags.still_hold()
    change(model)
    assert not flags.still_hold()


def test_a_cycle_ends() -> None:
    model = nested()
    model[0].add_module("outer", model)
    ModeFlags(model).set(False)
    assert flags_of(model) == [False] * len(flags_of(model))


def test_a_place_without_a_module_has_no_flag() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dropout()))
    model[0].register_module("missing", None)
    ModeFlags(model).set(False)
    assert flags_of(model) == [False, False]


class Counting(nn.Module):
    calls = 0

    def train(self, mode: bool = True) -> Counting:
        self.calls += 1
        return super().train(mode)


def test_a_module_in_two_places_gets_the_call_once() -> None:
    shared = Counting()
    ModeFlags(nn.Sequential(shared, nn.Sequential(shared))).set(False)
    assert shared.calls == 1
