from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx, nn

from fxpasses.graph.bits import first_difference
from fxpasses.testing import to_source
from fxpasses.testing.models.sample import sample_case


def _made(source: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope


def _run(module: nn.Module, args: Any, kwargs: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(*args, **kwargs)


@pytest.mark.parametrize("seed", range(12))
def test_the_source_of_a_graph_computes_what_the_graph_computes(seed: int) -> None:
    built = sample_case(seed).build()
    graph_module = fx.symbolic_trace(built.module)
    scope = _made(to_source(graph_module, built.args, built.kwargs))
    assert scope["module"].training == graph_module.training
    actual = _run(scope["module"], scope["args"], scope["kwargs"])
    assert first_difference(actual, _run(graph_module, built.args, built.kwargs)) is None


def test_the_source_of_a_case_is_its_own() -> None:
    case = sample_case(1)
    assert to_source(case).strip() == case.source.strip()


class _Custom(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class _LeavesCustomAlone(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _Custom) or super().is_leaf_module(m, module_qualified_name)


def test_modules_of_other_packages_large_weights_and_nested_graphs() -> None:
    inner = fx.symbolic_trace(nn.Sequential(nn.Linear(20, 20), nn.Dropout()))
    model = nn.Sequential(_Custom(), nn.Embedding(50, 20), inner, nn.PReLU(), nn.Conv1d(2, 3, 1)).eval()
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_module("4", (graph.call_module("2", (graph.call_module("1", (x,)),)),)))
    graph_module = fx.GraphModule(model, graph)
    x = torch.tensor([[1, 2]])
    scope = _made(to_source(graph_module, [x]))
    assert torch.equal(scope["module"](*scope["args"]), graph_module(x))
    custom = fx.GraphModule(model, _LeavesCustomAlone().trace(nn.Sequential(_Custom())))
    assert torch.equal(_made(to_source(custom))["module"](torch.ones(2)), torch.ones(2) + 1)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1, 2]),
        torch.tensor([True]),
        torch.zeros(0, 3),
        torch.tensor(1.5, dtype=torch.float64),
        torch.tensor([1.1, float("nan"), float("inf")]),
        torch.randn(10, 20),
        torch.tensor([1.0], dtype=torch.bfloat16),
        {"a": [1, (2.0, None)]},
    ],
)
def test_inputs_are_written_out_exactly(value: Any) -> None:
    scope = _made(to_source(fx.symbolic_trace(lambda x: x), [value], {"y": value}))
    assert first_difference(scope["args"], (value,)) is None
    assert first_difference(scope["kwargs"], {"y": value}) is None


def test_functions_of_other_modules_are_imported() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(first_difference, (x, x)))
    assert "from fxpasses.graph.bits import first_difference" in to_source(fx.GraphModule({}, graph))
