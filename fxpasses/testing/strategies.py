"""Hypothesis strategies for models, graphs and what belongs to them; needs `pip install fxpasses[testing]`.

Every argument is keyword-only and takes a value or a strategy. Everything drawn is valid: no example is filtered,
and whatever a failing example shrinks to is a model that runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import fx, nn

from fxpasses.errors import MissingExtraError, RequestError
from fxpasses.feature_extraction import get_graph_node_names
from fxpasses.graph.facts import Fact
from fxpasses.testing.case import Case
from fxpasses.testing.models.bare_graph import decorate
from fxpasses.testing.models.build_graph import build_graph
from fxpasses.testing.models.features import ALL, BEYOND_FX, LARGEST_MASK, OPT_IN, WITHOUT_MODULES, disabled_by
from fxpasses.testing.models.interpreter import INPUT, OUTPUT, STATEMENT, Limits, Spec, interpret
from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Program
from fxpasses.testing.models.render import render
from fxpasses.testing.models.scope import POOLS
from fxpasses.testing.models.statement_lists import ENDERS, statements_of
from fxpasses.testing.models.types import TensorType

try:
    from hypothesis import strategies as st
except ImportError as error:
    message = "fxpasses.testing.strategies needs hypothesis: pip install 'fxpasses[testing]'"
    raise MissingExtraError(message) from error

__all__ = [
    "ALL",
    "BEYOND_FX",
    "OPT_IN",
    "WITHOUT_MODULES",
    "OpSpec",
    "TensorType",
    "cases",
    "graph_modules",
    "graphs",
    "modules",
    "node_names",
    "pipelines",
]

_MODES = ("train", "eval")
_OUTPUTS = ("tensor", "tuple", "dict")
# One draw a statement: a list that shrinks is a list that loses whole ones.
_statement = st.binary(min_size=STATEMENT, max_size=STATEMENT)
_inputs = st.binary(max_size=3 * INPUT)
_outputs = st.binary(max_size=3 * OUTPUT)
# A model has every feature, or a random part of them: some bugs hide behind features that are always on.
_swarm = st.one_of(st.just(0), st.integers(0, LARGEST_MASK))
_pool = st.integers(0, len(POOLS) - 1)
# One statement in six ends a list; for a few models, one in eighteen.
_enders = st.sampled_from((*[ENDERS] * 6, ENDERS // 3))


class _Written(NamedTuple):
    program: Program
    training: bool

    def case(self) -> Case:
        """The program as a script, and how its graph is built without running that."""
        source = render(self.program, training=self.training)
        return Case(source, self.program.features, partial(build_graph, self.program, training=self.training))


def _drawn(draw: st.DrawFn, value: Any) -> Any:
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _write(draw: st.DrawFn, options: dict[str, Any]) -> _Written:
    chosen = {name: _drawn(draw, value) for name, value in options.items()}
    _check(chosen)
    spec = Spec(
        inputs=_cut(draw(_inputs), INPUT),
        outputs=_cut(draw(_outputs), OUTPUT),
        disabled=draw(_swarm) | disabled_by(chosen["features"]),
        pool=draw(_pool),
        training=draw(st.sampled_from(sorted(chosen["modes"]))) == "train",
        statements=statements_of(partial(draw, _statement), draw(_enders)),
    )
    limits = Limits(
        min_nodes=chosen["min_nodes"],
        max_nodes=chosen["max_nodes"],
        max_depth=chosen["max_depth"],
        max_inputs=chosen["max_inputs"],
        operations=tuple(chosen["ops"]),
        outputs=tuple(chosen["outputs"]),
    )
    return _Written(interpret(spec, limits), spec.training)


def _cut(drawn: bytes, size: int) -> list[bytes]:
    return [drawn[start : start + size].ljust(size, bytes(1)) for start in range(0, len(drawn), size)]


def _check(chosen: dict[str, Any]) -> None:
    if not 0 <= chosen["min_nodes"] <= chosen["max_nodes"]:
        raise RequestError(f"min_nodes={chosen['min_nodes']} and max_nodes={chosen['max_nodes']} leave nothing")
    if chosen["max_inputs"] < 1 or chosen["max_depth"] < 0:
        raise RequestError(
            f"max_inputs={chosen['max_inputs']} must be positive, max_depth={chosen['max_depth']} not negative"
        )
    for name, known in (("modes", _MODES), ("outputs", _OUTPUTS)):
        unknown = [each for each in chosen[name] if each not in known]
        if unknown or not chosen[name]:
            raise RequestError(f"{name}={chosen[name]!r}: choose at least one of {', '.join(known)}")


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    min_nodes: Any = 1,
    max_nodes: Any = 60,
    max_depth: Any = 2,
    max_inputs: Any = 3,
    ops: Any = (),
    features: Any = ALL,
    outputs: Any = _OUTPUTS,
    modes: Any = _MODES,
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
        >>> find(cases(min_nodes=1), lambda case: "relu" in case.source)
        Case('''
        import torch
        from torch import nn
        <BLANKLINE>
        <BLANKLINE>
        class Model(nn.Module):
            def forward(self, x):
                h1 = torch.relu(x)
                return h1
        <BLANKLINE>
        <BLANKLINE>
        torch.manual_seed(0)
        module = Model().eval()
        args = (torch.linspace(-1.0, 0.9, 6).reshape(2, 3),)
        kwargs = {}
        ''')
    """
    options = {"min_nodes": min_nodes, "max_nodes": max_nodes, "max_depth": max_depth, "max_inputs": max_inputs}
    written = _write(draw, {**options, "ops": ops, "features": features, "outputs": outputs, "modes": modes})
    return written.case()


def modules(**options: Any) -> st.SearchStrategy[nn.Module]:
    """The modules of `cases`, which see for the options; each in the mode that its case is about.

    Example:
        >>> from hypothesis import find
        >>> isinstance(find(modules(), lambda module: True), nn.Module)
        True
    """
    return cases(**options).map(lambda case: case.module)


@st.composite
def graph_modules(
    draw: st.DrawFn,
    *,
    min_nodes: Any = 1,
    max_nodes: Any = 60,
    max_depth: Any = 2,
    max_inputs: Any = 3,
    ops: Any = (),
    features: Any = ALL,
    outputs: Any = _OUTPUTS,
    modes: Any = _MODES,
) -> fx.GraphModule:
    """Graph modules, built without tracing and without running anything; see `cases` for the options.

    Each placeholder holds its example input in `meta["example_value"]`, where `check_pass` finds it. The features in
    `BEYOND_FX` may be added: a graph can hold what a tracer cannot record.

    Example:
        >>> from hypothesis import find
        >>> print(find(graph_modules(), lambda graph_module: True).graph)
        graph():
            %x : [num_users=1] = placeholder[target=x]
            %relu : [num_users=1] = call_function[target=torch.relu](args = (%x,), kwargs = {})
            return relu
    """
    options = {"min_nodes": min_nodes, "max_nodes": max_nodes, "max_depth": max_depth, "max_inputs": max_inputs}
    written = _write(draw, {**options, "ops": ops, "features": features, "outputs": outputs, "modes": modes})
    return build_graph(written.program, training=written.training)


@st.composite
def graphs(draw: st.DrawFn, *, min_nodes: Any = 0, max_nodes: Any = 40, max_inputs: Any = 3, ops: Any = ()) -> fx.Graph:
    """Bare graphs of functions and methods, with details that no tracer emits.

    They pass `Graph.lint`, and have unused inputs, odd names, arguments by keyword, values that are computed twice,
    constants and nested containers among the outputs.

    Args:
        draw: Given by hypothesis.
        min_nodes: The least number of operations.
        max_nodes: About the largest number of them.
        max_inputs: The largest number of inputs that are used.
        ops: Your own operations.

    Example:
        >>> from hypothesis import find
        >>> graph = find(graphs(), lambda graph: True)
        >>> graph.lint()
    """
    chosen = {"max_nodes": max_nodes, "max_inputs": max_inputs, "ops": ops, "features": WITHOUT_MODULES}
    options = {**chosen, "min_nodes": min_nodes, "max_depth": 0, "outputs": _OUTPUTS, "modes": ("eval",)}
    written = _write(draw, options)
    details = draw(st.lists(st.binary(min_size=2, max_size=2), max_size=6))
    return decorate(build_graph(written.program, training=False).graph, details)


@st.composite
def node_names(
    draw: st.DrawFn, case: Case | nn.Module, *, min_size: Any = 1, max_size: Any = None, mode: Any = None
) -> list[str]:
    """Names of values of a model that can be asked for: some of them, in some order.

    Args:
        draw: Given by hypothesis.
        case: The model.
        min_size: The least number of names.
        max_size: The largest number of names; by default all.
        mode: `"train"` or `"eval"`; by default the one that the model is in.

    Example:
        >>> from hypothesis import find
        >>> find(node_names(nn.Sequential(nn.ReLU(), nn.Tanh())), lambda names: len(names) == 2)
        ['input', '0']
    """
    module = case.module if isinstance(case, Case) else case
    mode = _drawn(draw, mode) or ("train" if module.training else "eval")
    train, evaluation = get_graph_node_names(module, suppress_diff_warning=True)
    names = train if mode == "train" else evaluation
    low, high = _drawn(draw, min_size), _drawn(draw, max_size)
    high = len(names) if high is None else min(high, len(names))
    return draw(st.lists(st.sampled_from(names), unique=True, min_size=min(low, len(names)), max_size=high))


@st.composite
def pipelines(draw: st.DrawFn, passes: Any, *, min_size: Any = 0, max_size: Any = 4) -> list[Any]:
    """Lists of passes in an order in which each finds the facts that it needs.

    Args:
        draw: Given by hypothesis.
        passes: The passes to choose from; each may be chosen more than once.
        min_size: The least number of passes.
        max_size: The largest number of passes.

    Example:
        >>> from hypothesis import find
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> [type(each).__name__ for each in find(pipelines([NameNodes()], min_size=2), lambda passes: True)]
        ['NameNodes', 'NameNodes']
    """
    available = list(_drawn(draw, passes))
    low, high = _drawn(draw, min_size), _drawn(draw, max_size)
    choices: Iterable[int] = draw(st.lists(st.integers(0, 255), min_size=low, max_size=high))
    facts: Collection[Fact] = frozenset()
    chosen: list[Any] = []
    for choice in choices:
        possible = [each for each in available if set(getattr(each, "needs", ())) <= set(facts)]
        if possible:
            chosen.append(possible[choice % len(possible)])
            facts = _facts_after(chosen[-1], facts)
    return chosen


def _facts_after(pass_: Any, facts: Collection[Fact]) -> Collection[Fact]:
    preserved: Sequence[Fact] = [fact for fact in facts if fact in getattr(pass_, "preserves", ())]
    return frozenset([*preserved, *getattr(pass_, "provides", ())])


st.register_type_strategy(Case, cases())
