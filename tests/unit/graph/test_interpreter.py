"""A function that writes into a list that it is given, as one of torchvision's video transformer does."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from fxpasses import check_fidelity, create_feature_extractor
from fxpasses.graph.divergence import values_at_birth
from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.interpreter import Interpreter
from fxpasses.graph.observe import observe


def clipped(sizes: list[int], options: dict[str, int]) -> list[int]:
    sizes[0] = min(sizes[0], options.pop("largest"))
    return sizes


fx.wrap("clipped")


class Clips(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = clipped([x.shape[0], 2], {"largest": 3})
        return x[: sizes[0]] * sizes[1]


@pytest.fixture
def traced() -> fx.GraphModule:
    return fx.symbolic_trace(Clips())


X = torch.arange(5.0)
EXPECTED = torch.tensor([0.0, 2.0, 4.0])


def test_lists_and_dicts_are_new_at_each_run(traced: fx.GraphModule) -> None:
    with pytest.raises(TypeError, match="does not support mutation"):
        fx.Interpreter(traced).run(X)
    interpreter = Interpreter(traced)
    assert torch.equal(interpreter.run(X), EXPECTED)
    assert torch.equal(interpreter.run(X), EXPECTED)
    assert torch.equal(traced(X), EXPECTED)


def test_what_a_node_returned_is_passed_on_itself() -> None:
    graph = fx.Graph()
    made = graph.call_function(list, ([1, 2],))
    graph.call_method("append", (made, 3))
    graph.output(made)
    assert Interpreter(fx.GraphModule({}, graph)).run() == [1, 2, 3]


def test_whatever_runs_a_graph_can_run_it(traced: fx.GraphModule) -> None:
    assert torch.equal(observe(traced, [X]).output, EXPECTED)
    assert torch.equal(values_at_birth(traced, [X])["mul"], EXPECTED)
    assert analyze_effects(traced, example_inputs=[X]).exact
    model = Clips()
    assert check_fidelity(create_feature_extractor(model, ["clipped", "mul"]), model, X).equal == ("clipped", "mul")
