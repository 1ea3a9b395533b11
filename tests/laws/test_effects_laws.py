"""Values at birth, effects kept, and nothing copied or kept in vain, on graphs that write in every way they can.

The oracle runs the untouched graph node by node and clones each value when it is made; it knows nothing of what
writes what. Graphs are lists of small tuples, each read as some operation on values that exist: every list is a graph.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from support.oracle import ValuesAtBirth, assert_bit_equal
from torch import Tensor, fx, nn
from torch.nn import functional

from fxpasses.graph.effects import Effects, analyze_effects
from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.liveness import live_nodes
from fxpasses.passes.protect_outputs import ProtectOutputs, overwritten_outputs, protect_outputs
from fxpasses.passes.prune_to_outputs import prune_to
from fxpasses.testing import SharedRun

# What the graphs call that no rule knows: leaves of a model, and functions that a tracer does not go into.


class _WritesItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[:, 0] += 1
        return x


class _WritesItsOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.first(x))


class _ReturnsPair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view(2, 4), x * 2


class _Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + self.count


def _add_into(x: Tensor, y: Tensor) -> Tensor:
    x.add_(y)
    return y


def _in_list(x: Tensor, y: Tensor) -> list[Tensor]:
    values = [x]
    values.append(y)
    return values


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.5, inplace=True),
    "linear": lambda: nn.Linear(4, 4),
    "norm": lambda: nn.BatchNorm1d(4),
    "identity": nn.Identity,
    "dropout": lambda: nn.Dropout(0.5),
    "dropout_in_place": lambda: nn.Dropout(0.5, inplace=True),
    "writes_input": _WritesItsInput,
    "writes_own": _WritesItsOwn,
    "pair": _ReturnsPair,
    "counts": _Counts,
}


class _Root(nn.Module):
    """What a graph can refer to: all tensors, and the modules that it calls, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.linspace(-1, 1, 8).view(2, 4))
        self.register_buffer("row", self.state[0])
        self.weight = nn.Parameter(torch.linspace(-1, 1, 8).view(2, 4))


class _Builder:
    """Makes a graph of values of shape (2, 4); `first` and `second` pick operands among those that exist."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.root = _Root()
        self.values = [self.graph.placeholder("x"), self.graph.placeholder("y")]

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.graph.call_function(target, args, kwargs)

    def method(self, name: str, *args: Any) -> fx.Node:
        return self.graph.call_method(name, args)

    def module(self, name: str, *args: Any) -> fx.Node:
        if not hasattr(self.root, name):
            self.root.add_module(name, _MODULES[name]())
        return self.graph.call_module(name, args)

    def item(self, container: fx.Node, index: Any) -> fx.Node:
        return self.call(operator.getitem, container, index)

    def part(self, x: fx.Node, index: int) -> fx.Node:
        """Writes into a part of a value through `chunk`, and goes on with the whole."""
        self.method("mul_", self.item(self.method("chunk", x, 2, 1), index % 2), 1.5)
        return x

    def joined(self, x: fx.Node, y: fx.Node) -> fx.Node:
        """Puts a part of one value and a part of another together."""
        parts = [self.item(self.call(torch.chunk, each, 2, 1), 1) for each in (x, y)]
        return self.call(torch.cat, parts, dim=1)


Operation = Callable[[_Builder, fx.Node, fx.Node], "fx.Node | None"]

_FRESH: dict[str, Operation] = {
    "add": lambda b, x, y: b.call(operator.add, x, y),
    "scale": lambda b, x, _: b.call(operator.mul, x, 0.5),
    "relu": lambda b, x, _: b.call(torch.relu, x),
    "linear": lambda b, x, _: b.module("linear", x),
    "cat": lambda b, x, y: b.joined(x, y),
    "where": lambda b, x, y: b.call(torch.where, b.call(operator.gt, x, y), x, y),
    "clone": lambda b, x, _: b.method("clone", x),
    "own": lambda b, x, _: b.module("writes_own", x),
    "size": lambda b, x, y: b.method("view", b.call(operator.sub, x, y), b.method("size", x, 0), -1),
}
_VIEWS: dict[str, Operation] = {
    "view": lambda b, x, _: b.method("view", x, 2, 4),
    "flat": lambda b, x, _: b.method("view", b.call(torch.flatten, x), 2, 4),
    "slice": lambda b, x, _: b.item(x, (slice(None), slice(None))),
    "transpose": lambda b, x, _: b.method("t", b.method("t", x)),
    "contiguous": lambda b, x, _: b.method("contiguous", x),
    "detach": lambda b, x, _: b.method("detach", x),
    "identity": lambda b, x, _: b.module("identity", x),
    "dropped": lambda b, x, _: b.call(functional.dropout, x, 0.5, training=False),
    "pair": lambda b, x, _: b.item(b.module("pair", x), 0),
    "list": lambda b, x, y: b.item(b.call(_in_list, x, y), 0),
    "larger": lambda b, x, _: b.call(max, [x]),
}
_WRITES: dict[str, Operation] = {
    "add_": lambda b, x, y: b.method("add_", x, y),
    "relu_": lambda b, x, _: b.call(torch.relu_, x),
    "functional": lambda b, x, _: b.call(functional.relu, x, inplace=True),
    "module": lambda b, x, _: b.module("relu", x),
    "hardtanh": lambda b, x, _: b.module("hardtanh", x),
    "out": lambda b, x, y: b.call(torch.sub, y, 0.25, out=x),
    "copy_": lambda b, x, y: b.method("copy_", x, y),
    "item": lambda b, x, y: b.call(operator.setitem, x, (slice(None), 0), b.item(y, (slice(None), 1))) and None,
    "iadd": lambda b, x, y: b.call(operator.iadd, x, y),
    "part": lambda b, x, _: b.part(x, 0),
    "other part": lambda b, x, _: b.part(x, 1),
    "data": lambda b, x, _: b.method("mul_", b.call(getattr, x, "data"), 1.25) and None,
    "aten": lambda b, x, _: b.call(torch.ops.aten.mul_.Tensor, x, 0.75),
    "wrapped": lambda b, x, y: b.call(_add_into, x, y),
    "leaf": lambda b, x, _: b.module("writes_input", x),
}
_STATE: dict[str, Operation] = {
    "buffer": lambda b, _x, _y: b.graph.get_attr("state"),
    "parameter": lambda b, x, _: b.call(operator.add, b.graph.get_attr("weight"), x),
    "update": lambda b, _x, _y: b.method("add_", b.graph.get_attr("state"), 1) and None,
    "update a row": lambda b, _x, _y: b.method("add_", b.graph.get_attr("row"), 1) and None,
    "norm": lambda b, x, _: b.module("norm", x),
    "count": lambda b, x, _: b.module("counts", x),
}
_RANDOM: dict[str, Operation] = {
    "dropout": lambda b, x, _: b.module("dropout", x),
    "dropout in place": lambda b, x, _: b.module("dropout_in_place", x),
    "noise": lambda b, x, _: b.call(torch.rand_like, x),
    "bernoulli_": lambda b, x, _: b.method("bernoulli_", x, 0.5),
}
_OPERATIONS = {**_FRESH, **_VIEWS, **_WRITES, **_STATE, **_RANDOM}

Step = tuple[str, int, int]


class Program(NamedTuple):
    """A graph as a list of steps, and the values that are asked for, by position."""

    steps: tuple[Step, ...]
    wanted: tuple[int, ...]

    def build(self) -> tuple[fx.GraphModule, list[fx.Node]]:
        """Returns the graph, which returns its last value, and the nodes asked for."""
        torch.default_generator.manual_seed(0)
        builder = _Builder()
        for name, first, second in self.steps:
            x, y = (builder.values[-1 - index % len(builder.values)] for index in (first, second))
            # An operation that returns nothing was a write: what it wrote is a value as before.
            builder.values.append(_OPERATIONS[name](builder, x, y) or x)
        builder.graph.output(builder.values[-1])
        # A stored item has no value: torch's interpreter makes it None, torch's code the object it was stored in.
        nodes = [node for node in builder.graph.nodes if node.op != "output" and node.target is not operator.setitem]
        wanted = [nodes[index % len(nodes)] for index in self.wanted]
        return LazyGraphModule(builder.root, builder.graph), list(dict.fromkeys(wanted)) or nodes[-1:]


def _programs(*groups: dict[str, Operation]) -> st.SearchStrategy[Program]:
    names = [name for group in groups for name in group]
    step = st.tuples(st.sampled_from(names), st.integers(0, 5), st.integers(0, 5))
    wanted = st.lists(st.integers(0, 60), min_size=1, max_size=8).map(tuple)
    return st.builds(Program, st.lists(step, min_size=6, max_size=18).map(tuple), wanted)


_DETERMINISTIC = (_FRESH, _VIEWS, _WRITES, _WRITES, _STATE)
_STATELESS = (_FRESH, _VIEWS, _WRITES, _WRITES)


def _inputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, generator=generator), torch.randn(2, 4, generator=generator)


def _run(function: Callable[..., Any], *inputs: Tensor) -> Any:
    torch.default_generator.manual_seed(7)
    with torch.no_grad():
        return function(*(each.clone() for each in inputs))


@lru_cache(maxsize=1)  # for the laws that compare with it
def _births(program: Program) -> list[dict[str, Any]]:
    """Runs the untouched graph three times, and returns each time's values as they were when they were made."""
    graph_module, _ = program.build()
    found: list[dict[str, Any]] = []
    for call in range(3):
        oracle = ValuesAtBirth(graph_module)
        _run(oracle.run, *_inputs(call))
        found.append(oracle.values)
    return found


def _return(graph_module: fx.GraphModule, wanted: Iterable[fx.Node]) -> None:
    graph_module.graph.output_node().args = ({node.name: node for node in wanted},)


def _prune(graph_module: fx.GraphModule, live: set[fx.Node]) -> int:
    doomed = [node for node in reversed(graph_module.graph.nodes) if node not in live and node.op != "output"]
    for node in doomed:
        graph_module.graph.erase_node(node)
    return len(doomed)


def _extract(graph_module: fx.GraphModule, wanted: Sequence[fx.Node], effects: Effects, **policies: Any) -> int:
    """Prunes to some values, protects them, and returns the number of copies."""
    _return(graph_module, wanted)
    _prune(graph_module, live_nodes(graph_module.graph, wanted, effects, **policies))
    copies = protect_outputs(graph_module, effects, set(graph_module.graph.nodes))
    graph_module.graph.lint()
    graph_module.recompile()
    return copies


def _effects(graph_module: fx.GraphModule, exact: bool) -> Effects:
    effects = analyze_effects(graph_module, example_inputs=_inputs() if exact else None)
    assert effects.exact is exact
    return effects


_SHORT = Program((("scale", 0, 0), ("relu_", 0, 0), ("add", 0, 1)), (2,))
_MAY_APPEND_LAST = Program((("copy_", 0, 0), ("pair", 2, 0), ("iadd", 0, 1)), (3,))
over_programs = SharedRun(_programs(*_DETERMINISTIC), st.lists(st.integers(0, 60), max_size=3))
over_random_programs = SharedRun(_programs(*_DETERMINISTIC, _RANDOM))


@over_programs.law
@example(program=_SHORT)
def test_a_value_is_what_it_was_when_it_was_computed(program: Program) -> None:
    _assert_extracted_as_computed(program, exact=False)


@over_programs.law
@example(program=_SHORT)
def test_a_value_is_what_it_was_when_it_was_computed_if_inputs_show_what_is_written(program: Program) -> None:
    _assert_extracted_as_computed(program, exact=True)


def _assert_extracted_as_computed(program: Program, exact: bool) -> None:
    graph_module, wanted = program.build()
    expected = _births(program)[0]
    copies = _extract(graph_module, wanted, _effects(graph_module, exact))
    event(f"copies: {min(copies, 3)}")
    actual = _run(graph_module, *_inputs())
    assert_bit_equal(actual, {name: expected[name] for name in actual})


@over_programs.law
def test_a_value_does_not_depend_on_what_else_is_asked_for(program: Program) -> None:
    together, wanted = program.build()
    _extract(together, wanted, analyze_effects(together))
    alone, again = program.build()
    _extract(alone, again[:1], analyze_effects(alone))
    name = wanted[0].name
    assert_bit_equal(_run(alone, *_inputs())[name], _run(together, *_inputs())[name])


@over_programs.law
def test_later_calls_see_the_state_that_they_would_have_seen(program: Program) -> None:
    graph_module, wanted = program.build()
    expected = _births(program)
    _extract(graph_module, wanted, analyze_effects(graph_module))
    actual = [_run(graph_module, *_inputs(call)) for call in range(3)]
    assert_bit_equal(actual, [{name: values[name] for name in actual[0]} for values in expected])


@over_programs.law
def test_all_state_is_kept_up_when_that_is_asked_for(program: Program) -> None:
    graph_module, wanted = program.build()
    twin = copy.deepcopy(graph_module)
    _extract(graph_module, wanted, analyze_effects(graph_module), state_writes="keep")
    inputs, twins = _inputs(), _inputs()
    for function, args in ((graph_module, inputs), (twin, twins)):
        torch.default_generator.manual_seed(7)
        with torch.no_grad():
            function(*args)
    assert_bit_equal(dict(graph_module.named_buffers()), dict(twin.named_buffers()))
    assert_bit_equal(inputs, twins)


@over_random_programs.law
def test_all_draws_are_kept_when_that_is_asked_for(program: Program) -> None:
    graph_module, wanted = program.build()
    expected = _births(program)[0]
    _extract(graph_module, wanted, analyze_effects(graph_module), rng="keep")
    actual = _run(graph_module, *_inputs())
    assert_bit_equal(actual, {name: expected[name] for name in actual})


@over_programs.law
def test_a_graph_that_is_pruned_to_its_own_output_computes_the_same(program: Program) -> None:
    graph_module, _ = program.build()
    expected = _run(copy.deepcopy(graph_module), *_inputs())
    output = graph_module.graph.output_node()
    removed = _prune(graph_module, live_nodes(graph_module.graph, [output], analyze_effects(graph_module)))
    event(f"removed: {min(removed, 3)}")
    graph_module.recompile()
    assert_bit_equal(_run(graph_module, *_inputs()), expected)


@over_programs.law
def test_asking_for_less_needs_less(program: Program, more: list[int]) -> None:
    graph_module, wanted = program.build()
    nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
    further = [*wanted, *(nodes[index % len(nodes)] for index in more)]
    effects = analyze_effects(graph_module)
    assert live_nodes(graph_module.graph, wanted, effects) <= live_nodes(graph_module.graph, further, effects)


# What is pruned may have been what showed that an argument is a tensor: each time the graph is judged as it then is.
@over_programs.law
@example(program=Program((("count", 1, 0), ("linear", 2, 0)), (2,)))
@example(program=_MAY_APPEND_LAST)
def test_asking_again_needs_the_same(program: Program) -> None:
    graph_module, wanted = program.build()
    prune_to(graph_module, {node.name: node for node in wanted})
    ProtectOutputs()(graph_module)
    returned = graph_module.graph.output_node().all_input_nodes
    live = live_nodes(graph_module.graph, returned, analyze_effects(graph_module))
    assert live == {node for node in graph_module.graph.nodes if node.op != "output"}
    assert ProtectOutputs()(graph_module) == (graph_module, False)


@given(program=_programs(*_STATELESS))
def test_only_what_is_overwritten_is_copied(program: Program) -> None:
    """Oracle: a tensor's version counter goes up with each write into its memory, so it tells who was overwritten."""
    graph_module, wanted = program.build()
    effects = _effects(graph_module, exact=True)
    _return(graph_module, wanted)
    _prune(graph_module, live_nodes(graph_module.graph, wanted, effects))
    # `x.data` has a counter of its own.
    if any(node.target is getattr for node in graph_module.graph.nodes):
        return
    oracle = _Versions(copy.deepcopy(graph_module))
    _run(oracle.run, *_inputs())
    overwritten = {name for name in oracle.overwritten() if name in {node.name for node in wanted}}
    found = overwritten_outputs(graph_module.graph, effects, set(graph_module.graph.nodes))
    assert {node.name for node in found} == overwritten


class _Versions(fx.Interpreter):
    """Notes the version of each tensor when it is made."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self._seen: list[tuple[str, Tensor, int]] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        parts = value if isinstance(value, (tuple, list)) else [value]
        self._seen += [(n.name, part, part._version) for part in parts if isinstance(part, Tensor) and n.op != "output"]
        return value

    def overwritten(self) -> set[str]:
        return {name for name, tensor, version in self._seen if tensor._version != version}


@over_random_programs.law
def test_what_happens_is_among_what_may_happen(program: Program) -> None:
    graph_module, _ = program.build()
    static, exact = analyze_effects(graph_module), _effects(graph_module, exact=True)
    nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
    for position, node in enumerate(nodes):
        for earlier in nodes[:position]:
            assert static.may_share_memory(node, earlier) >= exact.may_share_memory(node, earlier), (node, earlier)
            assert static.may_write(node, earlier) >= exact.may_write(node, earlier), (node, earlier)
        assert _fits(static.kinds[node], exact.kinds[node]), (node, static.kinds[node], exact.kinds[node])
    assert exact.random <= static.random
    assert exact.reshapes <= static.reshapes


def _fits(concluded: str, observed: str) -> bool:
    return concluded in (observed, "any") or (concluded == "numeric" and observed in ("tensor", "none"))


@over_programs.law
def test_analysing_changes_nothing(program: Program) -> None:
    graph_module, _ = program.build()
    code = graph_module.graph.python_code("self").src
    state = {name: (value, value.clone()) for name, value in graph_module.state_dict(keep_vars=True).items()}
    analyze_effects(graph_module)
    analyze_effects(graph_module, example_inputs=_inputs())
    assert graph_module.graph.python_code("self").src == code
    for name, value in graph_module.state_dict(keep_vars=True).items():
        assert value is state[name][0]
        assert torch.equal(value, state[name][1])


def test_the_generated_graphs_show_every_effect() -> None:
    """A law that never meets an effect holds for nothing: how often each comes up, of 400 graphs."""
    seen: Counter[str] = Counter()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(program=_programs(*_DETERMINISTIC, _RANDOM))
    def collect(program: Program) -> None:
        graph_module, wanted = program.build()
        seen.update({step for step, _, _ in program.steps})
        effects = analyze_effects(graph_module)
        live = live_nodes(graph_module.graph, wanted, effects)
        plain = _operands(wanted)
        _return(graph_module, wanted)
        seen["kept though nothing uses it"] += bool(live - plain - set(graph_module.graph.find_nodes(op="placeholder")))
        seen["write removed"] += any(node not in live for node in effects.writes)
        seen["copied"] += bool(overwritten_outputs(graph_module.graph, effects, live))
        seen["not copied though written"] += bool(effects.writes) and not overwritten_outputs(
            graph_module.graph, effects, live
        )

    collect()
    assert min(seen[name] for name in _OPERATIONS) >= 15, seen.most_common()[-5:]
    assert min(seen[name] for name in ("kept though nothing uses it", "write removed", "copied")) >= 60, seen


def _operands(wanted: Iterable[fx.Node]) -> set[fx.Node]:
    found, waiting = set(wanted), list(wanted)
    while waiting:
        new = [node for node in waiting.pop().all_input_nodes if node not in found]
        found.update(new)
        waiting.extend(new)
    return found
