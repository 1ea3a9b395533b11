"""Compilers and exporters take an extractor as they take any module, and what they make of it computes the same."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.artefacts import assert_same_extractor, both_modes, features, subject
from support.oracle import assert_bit_equal
from torch import fx, nn

MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        # Compilers warn of their own doings; what fxpasses itself warns of is tested elsewhere.
        warnings.simplefilter("ignore")
        yield
    torch.compiler.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@MODES
def test_compiled_in_one_piece_with_the_mode_switched_afterwards(backend: str, training: bool) -> None:
    _, extractor, x = subject(training)
    expected = both_modes(extractor, x)
    compiled = torch.compile(extractor, fullgraph=True, backend=backend)
    for mode in (training, not training, training, not training):
        compiled.train(mode)
        assert extractor.training is mode
        assert_bit_equal(features(compiled, x), expected[mode])


def test_compiled_once_a_mode() -> None:
    _, extractor, x = subject()
    graphs: list[fx.GraphModule] = []

    def backend(graph_module: fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        graphs.append(graph_module)
        return graph_module.forward

    compiled = torch.compile(extractor, fullgraph=True, backend=backend)
    for mode in (True, False, True, False):
        features(compiled.train(mode), x)
    assert len(graphs) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_compiled_in_place_and_then_copied(copied: Callable[[Any], Any]) -> None:
    _, extractor, x = subject()
    expected = both_modes(extractor, x)
    extractor.compile(fullgraph=True, backend="eager")
    assert_bit_equal(both_modes(extractor, x), expected)
    assert_same_extractor(copied(extractor), extractor, x)


@pytest.mark.parametrize("strict", [False, True], ids=["non_strict", "strict"])
@MODES
def test_exported_with_a_dynamic_batch(training: bool, strict: bool) -> None:
    _, extractor, x = subject(training)
    larger = torch.randn(5, *x.shape[1:])
    expected = [features(extractor, batch) for batch in (x, larger)]
    program = torch.export.export(
        extractor, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},), strict=strict
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    for exported in (program, torch.export.load(buffer)):
        assert_bit_equal([features(exported.module(), batch) for batch in (x, larger)], expected)


def test_an_export_knows_the_modules() -> None:
    _, extractor, x = subject(training=False)
    program = torch.export.export(extractor, (x,))
    assert set(program.state_dict) == set(extractor.state_dict())
    paths = {path for node in program.graph.nodes for path, _ in node.meta.get("nn_module_stack", {}).values()}
    assert {"stem.0", "block.conv", "head"} <= {path.rpartition("@")[0] or path for path in paths}


def test_exported_to_onnx() -> None:
    onnx_reference = pytest.importorskip("onnx.reference")
    pytest.importorskip("onnxscript")
    _, extractor, x = subject(training=False)
    expected = features(extractor, x)
    program = torch.onnx.export(extractor, (x,), dynamo=True, verbose=False)
    model = program.model_proto
    assert [node.name for node in model.graph.input] == ["x"]
    results = onnx_reference.ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    assert len(results) == len(expected)
    for value, result in zip(expected.values(), results, strict=True):
        # numpy adds up in another order than torch: equal up to rounding, which overwritten values are far from.
        torch.testing.assert_close(torch.from_numpy(result), value, rtol=1e-4, atol=1e-5)


@MODES
def test_scripted(training: bool) -> None:
    _, extractor, x = subject(training)
    expected = features(extractor, x)
    scripted = torch.jit.script(extractor)
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    for module in (scripted, torch.jit.load(buffer)):
        assert module.training is training
        assert_bit_equal(features(module, x), expected)
    assert_bit_equal(features(extractor, x), expected)


def test_traced() -> None:
    _, extractor, x = subject(training=False)
    expected = features(extractor, x)
    traced = torch.jit.trace(extractor, x, strict=False)
    assert_bit_equal(features(traced, x), expected)
    larger = torch.randn(5, *x.shape[1:])
    assert_bit_equal(features(traced, larger), features(extractor, larger))


@MODES
def test_traced_again_by_torch(training: bool) -> None:
    _, extractor, x = subject(training)
    retraced = fx.symbolic_trace(extractor)
    assert_bit_equal(features(retraced, x), features(extractor, x))
    assert [node.op for node in retraced.graph.nodes] == [node.op for node in extractor.graph.nodes]


@MODES
def test_transformed_and_interpreted_by_torch(training: bool) -> None:
    _, extractor, x = subject(training)
    expected = features(extractor, x)
    assert_bit_equal(features(fx.Transformer(extractor).transform(), x), expected)
    assert_bit_equal(features(fx.Interpreter(extractor).run, x), expected)


def test_inside_of_a_compiled_parent() -> None:
    _, extractor, x = subject(training=False)

    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = extractor
            self.training = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = self.backbone(x)
            return found["block"].mean() + found["stem.1"].mean()

    parent = Parent()
    compiled = torch.compile(parent, fullgraph=True, backend="eager")
    for mode in (False, True, False):
        parent.train(mode)
        assert_bit_equal(features(compiled, x), features(parent, x))
