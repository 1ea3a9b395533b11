"""However a module is called, and wherever its tensors are found, a trace sees it, and leaves `nn.Module` as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx import _symbolic_trace as torch_trace

from fxpasses.capture import capture_symbolic
from fxpasses.errors import CaptureError, FidelityWarning


class Scales(nn.Module):
    """Reads a parameter of its own, one of a child and a buffer, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        self.count = self.count + 1
        return self.linear(x) * self.scale + self.linear.weight.sum() + self.count


@pytest.fixture(autouse=True)
def _classes_are_left_as_they_were() -> Generator[None]:
    classes = [nn.Module, nn.Linear, nn.Sequential, Scales, *Scales.__subclasses__()]
    before = [dict(vars(each)) for each in (*classes, torch_trace)]
    yield
    assert [dict(vars(each)) for each in (*classes, torch_trace)] == before


def _targets(model: nn.Module) -> list[str]:
    return [str(node.target) for node in capture_symbolic(model).graph.nodes if node.op in ("get_attr", "call_module")]


OF_SCALES = ["count", "linear", "scale", "linear.weight"]


class Delegates(Scales):
    """Finds what it does not have in its child, as wrappers of models do."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("linear"), name)

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x) + self.bias  # of the child


class ChecksAssignments(Scales):
    """Has a way of its own to assign attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)


class CallsItself(Scales):
    """Has a way of its own to be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class IsCalledInAnotherWay(Scales):
    """Replaces what `nn.Module.__call__` calls."""

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)


class Doubles(Scales):
    """Finds another value than the one that is there."""

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        return value * 2 if name == "scale" else value


@pytest.mark.parametrize("kind", [Scales, ChecksAssignments, CallsItself, IsCalledInAnotherWay])
def test_a_module_is_seen_whatever_it_has_of_its_own(kind: type[Scales]) -> None:
    assert _targets(kind()) == OF_SCALES
    captured = capture_symbolic(nn.Sequential(kind(), nn.ReLU()))
    assert [call.path for call in captured.meta["fxpasses"].calls] == ["0"]
    targets = [str(node.target) for node in captured.graph.nodes]
    assert set(targets) >= {f"0.{target}" for target in OF_SCALES}


def test_a_tensor_that_a_class_looks_for_elsewhere_is_seen() -> None:
    assert _targets(Delegates()) == [*OF_SCALES, "linear.bias"]


def test_what_a_class_makes_of_its_tensors_is_seen() -> None:
    (scaled,) = capture_symbolic(Doubles()).graph.find_nodes(op="get_attr", target="scale")
    assert [user.args for user in scaled.users] == [(scaled, 2)]


def test_a_graph_module_inside_is_seen() -> None:
    inner = nn.Sequential(fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2))), Scales())
    assert _targets(inner) == ["0.0", *(f"1.{target}" for target in OF_SCALES)]


def test_a_module_that_is_compiled_is_refused() -> None:
    model = nn.Sequential(Scales(), nn.ReLU())
    model[0].compile(backend="eager")
    with pytest.raises(CaptureError, match=r"module '0' \(Scales\)(.|\n)*dynamo-optimized function"):
        capture_symbolic(model)


def test_a_module_that_is_registered_nowhere_is_traced_through() -> None:
    class Hides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales = Scales()
            self.hidden = [nn.Sequential(self.scales)]

        def forward(self, x: torch.Tensor) -> Any:
            return self.hidden[0](x)

    assert _targets(Hides()) == [f"scales.{target}" for target in OF_SCALES]


def test_what_an_instance_has_under_the_name_of_a_tensor_comes_first() -> None:
    class HasNumber(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = Scales(), 3.0

        def forward(self, x: torch.Tensor) -> Any:
            assert not hasattr(self, "count")
            with pytest.raises(AttributeError, match="'HasNumber' object has no attribute 'count'"):
                assert self.count
            with pytest.raises(AttributeError, match="'HasNumber' has no attribute 'count'"):
                assert type(self).count
            return self.inner(x) * self.scale

    captured = capture_symbolic(HasNumber())
    assert captured.graph.output_node().all_input_nodes[0].args[1] == 3.0


def test_an_attribute_of_a_leaf_that_is_set_is_noted() -> None:
    class SetsMomentum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor) -> Any:
            self.norm.momentum = 0.5
            return self.norm(x)

    with pytest.warns(FidelityWarning, match="sets the attribute 'momentum' in its forward"):
        capture_symbolic(SetsMomentum())


class CapturesInside(nn.Module):
    """Traces another model while it is traced."""

    def __init__(self, trace: Callable[[], None]) -> None:
        super().__init__()
        self.scales, self.trace = Scales(), trace

    def forward(self, x: torch.Tensor) -> Any:
        first = self.scales.scale * x
        self.trace()
        return self.scales(first)


@pytest.mark.parametrize(
    ("trace", "other", "inside"),
    [
        (capture_symbolic, Scales(), OF_SCALES),
        (capture_symbolic, Delegates(), [*OF_SCALES, "linear.bias"]),
        (capture_symbolic, ChecksAssignments(), OF_SCALES),
        (fx.symbolic_trace, nn.Sequential(nn.Linear(2, 2)), ["0"]),
    ],
)
def test_a_trace_inside_of_a_trace_is_one_of_its_own(
    trace: Callable[[nn.Module], Any], other: nn.Module, inside: list[str]
) -> None:
    traced: list[fx.GraphModule] = []
    model = CapturesInside(lambda: traced.append(trace(other)))
    assert _targets(model) == ["scales.scale", "scales.count", "scales.linear", "scales.linear.weight"]
    assert [node.target for node in traced[0].graph.nodes if node.op in ("get_attr", "call_module")] == inside


def test_a_capture_inside_of_torchs_own_trace_is_one_of_its_own() -> None:
    class CapturesAndMultiplies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.other = nn.Parameter(torch.ones(2)), [Scales()]
            self.captured: list[fx.GraphModule] = []

        def forward(self, x: torch.Tensor) -> Any:
            self.captured.append(capture_symbolic(self.other[0]))
            return x * self.weight

    model = CapturesAndMultiplies()
    assert "weight" in {node.target for node in fx.symbolic_trace(model).graph.nodes}
    assert len(model.captured[0].graph.find_nodes(op="get_attr")) == 3


class Fails(Scales):
    """Cannot be traced."""

    def forward(self, x: torch.Tensor) -> Any:
        raise ZeroDivisionError


def test_a_trace_that_fails_leaves_nothing_behind() -> None:
    with pytest.raises(CaptureError):
        capture_symbolic(nn.Sequential(Fails(), ChecksAssignments()))
