"""Where no traced module reads its mode, one trace serves both modes: it equals the traces of either mode.

The oracle is two traces, of fxpasses and of `torch.fx` alone. The former are compared by the names of the nodes and by
their qualified names, operations, targets and arguments, the latter by the code that they become.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from support.generated import Prepared, names, small_cases
from support.zoo import build
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.feature_extraction.both_modes import CaptureOptions, capture_both
from fxpasses.feature_extraction.captures import Examples
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing import Case
from fxpasses.testing.strategies import ALL, cases

WITHOUT_MODES = ALL - {"branch", "dropout_function"}
"""What never reads a mode while it is traced: a dropout layer is one node."""


class Seen(NamedTuple):
    """All of a graph that the two modes must agree on."""

    names: list[str]
    nodes: list[tuple[str, str, str, str, str]]

    @classmethod
    def of(cls, graph_module: fx.GraphModule) -> Seen:
        """Spells out a named graph."""
        nodes = [
            (node.name, node.op, str(node.target), str(node.args), str(node.kwargs))
            for node in graph_module.graph.nodes
        ]
        return cls(names(graph_module), nodes)


def assert_one_trace_serves_both(model: nn.Module) -> bool:
    """Checks the law for a model; returns whether it applies."""
    both = capture_both(model, CaptureOptions())
    separate = [
        Seen.of(NameNodes()(capture_symbolic(model, training=mode, warn=False)).graph_module) for mode in (True, False)
    ]
    assert [Seen.of(both.train), Seen.of(both.eval)] == separate
    assert (both.train is both.eval) is not bool(both.mode_readers)
    if both.mode_readers:
        return False
    assert separate[0] == separate[1]
    assert _bare_code(model, True) == _bare_code(model, False)
    assert not both.diff
    return True


def _bare_code(model: nn.Module, training: bool) -> str:
    """Traces with `torch.fx` alone; every submodule gets the mode by its own `train`."""
    flags = {module: module.training for module in model.modules()}
    try:
        return fx.Tracer().trace(model.train(training)).python_code("self").src
    finally:
        for module, flag in flags.items():
            module.training = flag


@given(small_cases)
def test_where_no_mode_is_read_one_trace_serves_both(case: Case) -> None:
    assert_one_trace_serves_both(Prepared.of(case).module)


@given(cases(max_nodes=18, features=WITHOUT_MODES))
def test_models_that_never_look_at_their_mode_are_traced_once(case: Case) -> None:
    both = capture_both(Prepared.of(case).module, CaptureOptions())
    assert both.train is both.eval


@pytest.mark.parametrize(
    "name", ["densenet121", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "vgg11_bn", "vit_b_32"]
)
def test_models_of_torchvision_that_are_traced_once(name: str) -> None:
    assert assert_one_trace_serves_both(build(name, "meta"))


@pytest.mark.parametrize("name", ["googlenet", "swin_t"])
def test_models_of_torchvision_that_are_traced_twice(name: str) -> None:
    assert not assert_one_trace_serves_both(build(name, "meta"))


class _Reads(nn.Module):
    """Looks at the mode in one of several ways, and computes something else in each."""

    def __init__(self, look: Callable[[_Reads], bool]) -> None:
        super().__init__()
        self.look, self.layer = look, nn.Dropout()
        self.parts = nn.ModuleList([nn.Sequential(nn.Linear(2, 2))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) if self.look(self) else torch.sigmoid(x)


def _in_its_forward_hook(model: _Reads) -> bool:
    return model.parts[0][0].training


_LOOKS: dict[str, Callable[[Any], bool]] = {
    "its own flag": lambda model: model.training,
    "by name": lambda model: getattr(model, "train" + "ing"),
    "whether there is one, and then it": lambda model: hasattr(model, "training") and model.training,
    "a leaf's flag": lambda model: model.layer.training,
    "a flag deep inside": _in_its_forward_hook,
    "that of all": lambda model: all(part.training for part in model.modules()),
    "past the class": lambda model: object.__getattribute__(model, "training"),
}


@pytest.mark.parametrize("look", list(_LOOKS))
def test_however_the_mode_is_read_it_is_seen(look: str) -> None:
    inner = nn.Sequential(nn.Linear(2, 2), _Reads(_LOOKS[look]))
    both = capture_both(inner, CaptureOptions())
    assert both.train is not both.eval
    assert [graph_module.code.count("tanh") > 0 for graph_module in (both.train, both.eval)] == [True, False]
    assert not assert_one_trace_serves_both(inner)


class _OwnTrain(nn.Module):
    """Keeps its mode in a flag of its own, which its `train` sets."""

    def __init__(self) -> None:
        super().__init__()
        self.is_noisy = True

    def train(self, mode: bool = True) -> _OwnTrain:
        self.is_noisy = mode
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if self.is_noisy else x


class _OnlyEvaluates(nn.Module):
    """Has a flag of its class, which nothing sets."""

    training = False

    def __init__(self) -> None:
        super().__init__()
        del self.__dict__["training"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.training else x * 2


@pytest.mark.parametrize("make", [_OwnTrain, _OnlyEvaluates])
def test_a_class_whose_mode_cannot_be_watched_counts_as_reading_it(make: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), make())
    both = capture_both(model, CaptureOptions())
    assert both.mode_readers == ("1",)
    assert both.train is not both.eval


def test_a_hook_may_read_the_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    model[1].register_forward_hook(lambda module, _, output: output + 1 if module.training else output)
    both = capture_both(model, CaptureOptions())
    assert both.mode_readers == ("1",)
    assert not assert_one_trace_serves_both(model)


@pytest.mark.parametrize(
    ("model", "is_one"), [(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), True), (_Reads(_LOOKS["its own flag"]), False)]
)
def test_captures_with_values_are_traced_once_too(model: nn.Module, is_one: bool) -> None:
    options = CaptureOptions(capture="values", examples=Examples((torch.ones(1, 2),)))
    both = capture_both(model, options)
    assert (both.train is both.eval) is is_one
