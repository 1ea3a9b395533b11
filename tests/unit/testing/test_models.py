"""The tables of operations: each must run wherever it says that it applies, and give what it says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from fxpasses.errors import RequestError
from fxpasses.testing.models import ops_combine, ops_modules, ops_pointwise, ops_reduce, ops_shape
from fxpasses.testing.models.bare_graph import decorate
from fxpasses.testing.models.build_graph import build_graph
from fxpasses.testing.models.features import ALL, EVERYTHING, LARGEST_MASK, disabled_by, is_off, mask_of
from fxpasses.testing.models.interpreter import Limits, Spec, interpret
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Assign, Call, Local, TensorSource
from fxpasses.testing.models.render import expression, render
from fxpasses.testing.models.scope import all_reasonable
from fxpasses.testing.models.statements import KINDS
from fxpasses.testing.models.tensors import expression_of, value_of
from fxpasses.testing.models.types import TensorType, broadcast

SHAPES = [(2, 3), (3, 3), (2, 4), (1, 3), (2, 3, 4), (2, 4, 4, 4), (2, 3, 4, 4), (4,), (), (2, 1, 3)]
DTYPES = [torch.float32, torch.float64, torch.int64, torch.bool]
TABLES = {
    "pointwise": ops_pointwise.POINTWISE,
    "activations": ops_pointwise.ACTIVATIONS,
    "in place": ops_pointwise.IN_PLACE,
    "in-place modules": ops_pointwise.IN_PLACE_MODULES,
    "casts": ops_pointwise.CASTS,
    "numbers": ops_combine.NUMBERS,
    "in-place numbers": ops_combine.IN_PLACE_NUMBERS,
    "many": ops_combine.MANY,
    "in-place pairs": ops_combine.IN_PLACE_PAIRS,
    "reshaping": ops_shape.RESHAPING,
    "splitting": ops_shape.SPLITTING,
    "joining": ops_shape.JOINING,
    "reductions": ops_reduce.REDUCTIONS,
    "paired results": ops_reduce.PAIRED_RESULTS,
    "layers": ops_modules.LAYERS,
    "batch norm": ops_modules.BATCH_NORM,
    "dropout": ops_modules.DROPOUT,
    "random": ops_modules.RANDOM_OPS,
}


def _types() -> list[TensorType]:
    types = [TensorType(shape, dtype) for shape in SHAPES for dtype in DTYPES]
    types = [kind.within(0, 1) if kind.is_bool else kind for kind in types]
    types.append(TensorType((2, 3), gradient=True))
    return (
        types
        + [kind.within(0.5, 1.0) for kind in types if kind.is_float]
        + [kind.within(0, 4) for kind in types if kind.is_integer]
    )


def _run(spec: OpSpec, values: list[torch.Tensor], options: Any) -> Any:
    """Executes the source that the operation writes."""
    names = ["a", "b", "c"][: len(values)]
    constructor, call = spec.write(tuple(Local(name) for name in names), options)
    scope: dict[str, Any] = {**dict(zip(names, values, strict=True)), "torch": torch, "F": torch.nn.functional}
    scope |= {"nn": torch.nn}
    if constructor is None:
        return eval(expression(call), scope)
    made = f"{constructor.target}({expression(list(constructor.args))[1:-1]}"
    made += "".join(f", {name}={value!r}" for name, value in constructor.kwargs.items()) + ")"
    module = eval(made.replace("(, ", "("), scope)
    return module(*(values * 3 if spec.emit is not None else values))


def _check(actual: Any, expected: Any) -> None:
    if not isinstance(expected, TensorType):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _check(one, other)
        return
    assert tuple(actual.shape) == expected.shape
    assert actual.dtype is expected.dtype


@pytest.mark.parametrize("table", TABLES)
def test_each_operation_gives_the_type_that_it_says_wherever_it_applies(table: str) -> None:
    for spec in TABLES[table]:
        applied = 0
        for types in itertools.product(_types(), repeat=spec.arity) if spec.arity < 3 else _triples():
            if not spec.accepts(*types):
                continue
            applied += 1
            if applied > 8:
                break
            knob = 7 * applied % 256
            options = spec.options(knob, *types)
            expected = spec.infer(*types, **options)
            if not all_reasonable(expected):
                continue
            values = [value_of(TensorSource(kind, phase)) for phase, kind in enumerate(types)]
            _check(_run(spec, values, options), expected)
        assert applied, f"{spec.name} never applies"


def _triples() -> Any:
    chosen = [TensorType((2, 3), dtype) for dtype in DTYPES] + [TensorType((1, 3)), TensorType((3, 1))]
    return itertools.product(chosen, repeat=3)


def test_there_are_many_kinds_of_operation() -> None:
    names = {spec.name for table in TABLES.values() for spec in table}
    assert len(names) >= 200


def test_a_tensor_is_what_its_expression_spells() -> None:
    for kind, phase in itertools.product(_types(), range(4)):
        if kind.ndim:
            source = TensorSource(kind, phase)
            value, spelled = value_of(source), eval(expression_of(source), {"torch": torch})
            assert value.dtype is spelled.dtype
            assert torch.equal(value, spelled)


def test_an_empty_spec_is_a_model_and_so_are_all_bytes() -> None:
    for limits in (Limits(), Limits(min_nodes=0), Limits(min_nodes=7), Limits(max_depth=0), Limits(max_inputs=1)):
        for byte in range(0, 256, 5):
            spec = Spec([bytes([byte] * 3)] * 2, [bytes([byte] * 6)] * 4, [bytes([byte])] * 2, byte << 3, byte % 2 == 0)
            program = interpret(spec, limits)
            scope: dict[str, Any] = {}
            exec(render(program, training=spec.training), scope)
            scope["module"](*scope["args"], **scope["kwargs"])


@pytest.mark.parametrize("feature", sorted(EVERYTHING))
def test_a_feature_that_is_off_does_not_occur(feature: str) -> None:
    import random

    draw = random.Random(feature)
    natural = {"multi_input"}  # what `max_inputs` is for
    for _ in range(12):
        spec = Spec((), [draw.randbytes(6) for _ in range(20)], (), mask_of([feature]))
        assert feature not in interpret(spec).features or feature in natural


def test_masks() -> None:
    assert disabled_by(EVERYTHING) == 0
    assert disabled_by(()) == LARGEST_MASK
    assert is_off("residual", disabled_by(ALL - {"residual"}))
    assert not is_off(None, LARGEST_MASK)
    with pytest.raises(RequestError, match=r"'residuals'; did you mean 'residual'\?"):
        disabled_by(["residuals"])


def test_every_feature_of_a_statement_is_a_known_one() -> None:
    assert {feature for kind in KINDS for feature in kind.features.split()} <= set(EVERYTHING)


def test_shapes_broadcast_as_in_torch() -> None:
    for one, other in itertools.product(SHAPES, repeat=2):
        try:
            expected: Any = tuple(torch.broadcast_shapes(one, other))
        except RuntimeError:
            expected = None
        assert broadcast(one, other) == expected


def test_odd_details_leave_a_graph_valid() -> None:
    graph = build_graph(
        interpret(Spec(statements=[bytes([40 * n, n, 0, 0, n, 0]) for n in range(6)])), training=False
    ).graph
    for kind, knob in itertools.product(range(6), range(12)):
        changed = decorate(graph, [bytes([kind, knob])] * 2)
        changed.lint()
        assert len(changed.nodes) >= len(graph.nodes)


def test_source_of_expressions() -> None:
    x = Local("x")
    assert expression(Call("operator", "mul", (Call("operator", "add", (x, 1)), 2))) == "(x + 1) * 2"
    assert (
        expression(Call("operator", "getitem", (x, (slice(None), slice(2), Ellipsis, None)))) == "x[:, :2, ..., None]"
    )
    # What a tracer records of `x[0:2]` and of `x[:2,]` is not what it records of `x[:2]`.
    assert expression(Call("operator", "getitem", (x, slice(0, 2)))) == "x[0:2]"
    assert expression(Call("operator", "getitem", (x, (slice(2),)))) == "x[:2,]"
    assert expression(Call("operator", "neg", (x,))) == "-x"
    assert expression(Call("module", "heads.conv", (x,)), {"heads": "ModuleDict"}) == "self.heads['conv'](x)"
    assert expression(Call("module", "0", (x,))) == "getattr(self, '0')(x)"
    assert expression({"a": (x,), "b": [x, 1.5]}) == "{'a': (x,), 'b': [x, 1.5]}"
    assert Assign(("y",), x).targets == ("y",)
