from __future__ import annotations

import math
import operator
from typing import Any

import pytest
import torch
from support import examples
from support.oracle import assert_bit_equal
from torch import nn

from fxpasses.capture import capture_symbolic
from fxpasses.capture.leaves import checked_leaf_classes, default_leaf_modules, tracer_options
from fxpasses.capture.modes import left_as_it_was
from fxpasses.errors import ArgumentTypeError, CaptureError, FidelityWarning
from fxpasses.graph.calls import NodeRef, Opaque


def _record(model: nn.Module, **options: Any) -> Any:
    return capture_symbolic(model, **options).meta["fxpasses"]


def test_nodes_carry_the_modules_around_them() -> None:
    graph = capture_symbolic(examples.CalledTwice()).graph
    stacks = [list(node.meta["nn_module_stack"]) for node in graph.nodes if node.op.startswith("call")]
    assert stacks[0] == ["block", "block.first"]
    assert stacks[6] == ["block@1", "block.first@1"]


def test_the_record_holds_what_each_call_took_and_returned() -> None:
    record = _record(examples.UsesSplit("dict"))
    (split,) = record.calls
    assert (split.path, split.index, split.parent, split.module_type) == ("split", 0, None, examples.Split)
    assert split.args == (NodeRef("x"),)
    assert split.output == {"small": NodeRef("getitem"), "large": NodeRef("exp")}
    assert split.after == NodeRef("x")
    assert split.until == NodeRef("exp")


def test_a_list_that_the_callee_changes_is_recorded_as_it_was() -> None:
    class Appends(nn.Module):
        def forward(self, values: list[torch.Tensor]) -> torch.Tensor:
            values.append(values[0] * 2)
            return values[1]

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Appends()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner([x])

    (inner,) = _record(Calls()).calls
    assert inner.args == ([NodeRef("x")],)


def test_what_no_graph_can_hold_is_described() -> None:
    class Wraps(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return {"value": x, "kind": object()}

    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Wraps()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)["value"]

    (inner,) = _record(Uses()).calls
    assert inner.output["value"] == NodeRef("x")
    assert isinstance(inner.output["kind"], Opaque)


def test_aliases_name_the_further_paths() -> None:
    assert _record(examples.Aliased()).aliases == {
        "second": "first",
        "second.first": "first.first",
        "second.second": "first.second",
    }


def test_a_list_that_is_extended_is_so_under_every_name() -> None:
    class Extends(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            factors = [1] * x.dim()
            same = factors
            factors += [7]
            return x * same[-1]

    assert capture_symbolic(Extends())(torch.ones(2)).tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("symbol", "change"),
    [
        ("+=", operator.iadd), ("-=", operator.isub), ("*=", operator.imul), ("/=", operator.itruediv),
        ("//=", operator.ifloordiv), ("%=", operator.imod), ("**=", operator.ipow),
    ],
)  # fmt: skip
def test_an_augmented_assignment_changes_every_name_of_the_value(symbol: str, change: Any) -> None:
    class Augments(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + 1
            z = y
            y = change(y, 2)
            return z

    x = torch.rand(3) + 1
    captured = capture_symbolic(Augments())
    assert_bit_equal(captured(x), Augments()(x), symbol)
    assert change in [node.target for node in captured.graph.nodes]


def test_an_augmented_number_stays_a_number() -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            size = x.size(0)
            double = size
            double *= 2
            return x.new_ones(size, double)

    assert capture_symbolic(Counts())(torch.ones(3)).shape == Counts()(torch.ones(3)).shape == (3, 6)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 300, 70_000])
def test_a_value_unpacks_into_as_many_names_as_there_are(count: int) -> None:
    names = [f"x{index}" for index in range(count)]
    code = f"def unpack(value):\n {', '.join(names)}, = value\n return {names[0]}, {names[-1]}"
    namespace: dict[str, Any] = {}
    exec(code, namespace)

    class Unpacks(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return namespace["unpack"](x)

    captured = capture_symbolic(Unpacks())
    assert [node.args[1] for node in captured.graph.nodes if node.target is operator.getitem] == list(range(count))


def test_a_value_is_iterated_over_only_where_it_is_unpacked() -> None:
    class Iterates(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return [*x]

    with pytest.raises(CaptureError, match="cannot be iterated"):
        capture_symbolic(Iterates())


def test_nothing_is_stored_on_the_model(unchanged) -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(3)

    model = unchanged(nn.Sequential(Constant()))
    captured = capture_symbolic(model)
    assert_bit_equal(captured(torch.ones(3)), torch.full((3,), 2.0))
    assert list(captured.state_dict()) == []


def test_buffers_are_read_not_folded() -> None:
    class Normalises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (self.weight + 1).rsqrt()

    model = Normalises()
    captured = capture_symbolic(model)
    model.weight.fill_(8.0)
    assert_bit_equal(captured(torch.ones(3)), model(torch.ones(3)))
    assert list(captured.state_dict()) == ["weight"]


def test_a_buffers_shape_is_known_while_tracing() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table.shape[0] == 2 and self.table.dim() == 2 and len(self.table) == self.table.size(0):
                first, second = self.table
                return x + first + second
            return x

    assert_bit_equal(capture_symbolic(Decides())(torch.ones(3)), torch.full((3,), 3.0))


def test_a_trace_that_fails_says_where_and_what_to_do(unchanged) -> None:
    model = unchanged(examples.Untraceable())
    with pytest.raises(CaptureError) as raised:
        capture_symbolic(model, training=not model.training)
    message = str(raised.value)
    assert "module 'inner.0' (Inner)" in message
    assert "if x.sum() > 0:" in message
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("context", [torch.no_grad, lambda: torch.autocast("cpu")])
def test_what_the_graph_does_not_carry_over_is_a_warning(context: Any) -> None:
    class Contextual(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with context():
                return torch.relu(x)

    with pytest.warns(FidelityWarning, match="'0' \\(Contextual\\)"):
        capture_symbolic(nn.Sequential(Contextual()))


def test_a_random_tensor_made_while_tracing_is_a_warning() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(3)

    with pytest.warns(FidelityWarning, match="'0' \\(Noisy\\)"):
        capture_symbolic(nn.Sequential(Noisy()))


def test_the_mode_and_every_flag_come_back(unchanged) -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model.train()
    model[1].eval()
    unchanged(model)
    with left_as_it_was(model, training=False):
        assert not any(module.training for module in model.modules())
    with pytest.raises(KeyError), left_as_it_was(model, training=True):
        raise KeyError


def test_options_are_completed_and_checked() -> None:
    options = tracer_options({"leaf_modules": {nn.Sequential}, "autowrap_functions": [abs]})
    assert options["leaf_modules"][0] is nn.Sequential
    assert set(default_leaf_modules()) <= set(options["leaf_modules"])
    assert options["autowrap_functions"] == (abs,)
    with pytest.raises(ArgumentTypeError, match="Unknown tracer option 'leaf'"):
        tracer_options({"leaf": []})
    with pytest.raises(ArgumentTypeError, match="did you mean its class, ReLU"):
        checked_leaf_classes([nn.ReLU()])


class Roots(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x * math.sqrt(x.shape[1])


def test_a_capture_inside_of_a_capture_records_the_functions_themselves() -> None:
    inner: list[Any] = []

    class CapturesWhileItRuns(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            inner.extend(node.target for node in capture_symbolic(Roots()).graph.nodes)
            return x + math.sqrt(x.shape[0]) if self.training else x

    before = math.sqrt
    outer = capture_symbolic(CapturesWhileItRuns())
    assert math.sqrt is before
    assert before in inner
    assert outer.graph.find_nodes(op="call_function", target=before)
    assert outer.meta["fxpasses"].mode_readers == ("",)
    assert "training" not in vars(nn.Module)
