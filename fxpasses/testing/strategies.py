"""Hypothesis strategies for models, graphs and what belongs to them; needs `pip install fxpasses[testing]`.

Every argument is keyword-only and takes a value or a strategy. Everything drawn is valid: no example is filtered,
and whatever a failing example shrinks to is a model that runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from fxpasses.errors import MissingExtraError
from fxpasses.testing.case import Case
from fxpasses.testing.models.features import ALL, BEYOND_FX, LARGEST_MASK, OPT_IN, disabled_by
from fxpasses.testing.models.interpreter import INPUT, OUTPUT, STATEMENT, Limits, Spec, interpret
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.render import render
from fxpasses.testing.models.types import TensorType

try:
    from hypothesis import strategies as st
except ImportError as error:
    message = "fxpasses.testing.strategies needs hypothesis: pip install 'fxpasses[testing]'"
    raise MissingExtraError(message) from error

__all__ = ["ALL", "BEYOND_FX", "OPT_IN", "OpSpec", "TensorType", "cases", "modules", "specs"]

OrStrategy = Any  # a value of the documented type, or a strategy for one

_statements = st.lists(st.binary(min_size=STATEMENT, max_size=STATEMENT), max_size=40)
_inputs = st.lists(st.binary(min_size=INPUT, max_size=INPUT), max_size=3)
_outputs = st.lists(st.binary(min_size=OUTPUT, max_size=OUTPUT), max_size=3)
# A model has every feature, or a random part of them: some bugs hide behind features that are always on.
_swarm = st.one_of(st.just(0), st.integers(0, LARGEST_MASK))


def _drawn(draw: st.DrawFn, value: Any) -> Any:
    return draw(value) if isinstance(value, st.SearchStrategy) else value


@st.composite
def specs(draw: st.DrawFn, *, features: OrStrategy = ALL, modes: OrStrategy = ("train", "eval")) -> Spec:
    """Specs: what a model is read from. Most tests want `cases`.

    Args:
        draw: Given by hypothesis.
        features: The features that may occur.
        modes: The modes that the model may be in.
    """
    # Three short lists instead of a long one: long models are drawn often, and any part can shrink to nothing.
    statements = [each for _ in range(3) for each in draw(_statements)]
    allowed: Collection[str] = _drawn(draw, features)
    chosen: Sequence[str] = _drawn(draw, modes)
    return Spec(
        inputs=draw(_inputs),
        statements=statements,
        outputs=draw(_outputs),
        disabled=draw(_swarm) | disabled_by(allowed),
        training=draw(st.sampled_from(chosen)) == "train",
    )


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    min_nodes: OrStrategy = 1,
    max_nodes: OrStrategy = 40,
    max_depth: OrStrategy = 2,
    max_inputs: OrStrategy = 3,
    ops: OrStrategy = (),
    features: OrStrategy = ALL,
    outputs: OrStrategy = ("tensor", "tuple", "dict"),
    modes: OrStrategy = ("train", "eval"),
) -> Case:
    """Models with inputs, as scripts.

    Args:
        draw: Given by hypothesis.
        min_nodes: The least number of operations in a trace of the model.
        max_nodes: About the largest number of them.
        max_depth: How deep blocks and containers may nest.
        max_inputs: The largest number of inputs.
        ops: Your own operations, written now and then between the built-in ones.
        features: The features that may occur; `ALL` are the ones that torch.fx traces faithfully.
        outputs: Of `"tensor"`, `"tuple"` and `"dict"`, the forms that the model may return.
        modes: Of `"train"` and `"eval"`, the modes that it may be in.

    Example:
        >>> from hypothesis import find
        >>> case = find(cases(min_nodes=2), lambda case: "relu" in case.source)
        >>> sum("relu" in line for line in case.source.splitlines()) >= 1
        True
    """
    spec = draw(specs(features=features, modes=modes))
    limits = Limits(
        min_nodes=_drawn(draw, min_nodes),
        max_nodes=_drawn(draw, max_nodes),
        max_depth=_drawn(draw, max_depth),
        max_inputs=_drawn(draw, max_inputs),
        operations=tuple(_drawn(draw, ops)),
        outputs=_drawn(draw, outputs),
    )
    program = interpret(spec, limits)
    return Case(render(program, training=spec.training), program.features)


def modules(**options: Any) -> st.SearchStrategy[nn.Module]:
    """The modules of `cases`, which see for the options; in the mode that the case is about.

    Example:
        >>> from hypothesis import find
        >>> isinstance(find(modules(), lambda module: True), nn.Module)
        True
    """
    return cases(**options).map(lambda case: case.module)
