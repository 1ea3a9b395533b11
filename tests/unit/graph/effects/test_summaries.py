"""One reading of a callee's source serves further calls, but never one that it would have read differently."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional
from torchvision import ops

from fxpasses.graph.effects import analyze_effects
from fxpasses.graph.effects.behaviour import Behaviour
from fxpasses.graph.effects.source import summaries as module_under_test
from fxpasses.graph.effects.source.summaries import Summaries
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A = _GRAPH.placeholder("a", type_expr=Tensor)
_B = _GRAPH.placeholder("b", type_expr=Tensor)
_KINDS: Any = {_A: "tensor", _B: "tensor"}


def _call(callee: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
    if isinstance(callee, nn.Module):
        return _GRAPH.call_module("callee", (_A, *args), kwargs)
    return _GRAPH.call_function(callee, (_A, *args), kwargs)


def _directly(callee: Callable[..., Any], node: fx.Node, training: bool | None = None) -> Behaviour:
    return behaviour_from_source(callee, training, node.args, node.kwargs, _KINDS.__getitem__)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    found: list[object] = []

    def counting(callee: Any, *args: Any) -> Behaviour:
        found.append(callee)
        return behaviour_from_source(callee, *args)

    monkeypatch.setattr(module_under_test, "behaviour_from_source", counting)
    return found


def _decides_deep_inside(a: Tensor, p: float, heads: int) -> Tensor:
    return _inner(a.view(-1, heads), (1 - p) * 2, heads)


def _inner(a: Tensor, rate: float, heads: int) -> Tensor:
    for _ in range(3):
        a = a.reshape(heads, -1)
    return _innermost(a, rate)


def _innermost(a: Tensor, rate: float) -> Tensor:
    return a.add_(rate) if rate > 1 else a + rate


class TestFunctions:
    def test_a_constant_that_nothing_was_decided_on_does_not_matter(self, read: list[object]) -> None:
        summaries = Summaries()
        for heads in (1, 2, 300):
            node = _call(_decides_deep_inside, 0.1, heads)
            assert summaries.behaviour(_decides_deep_inside, None, node, _KINDS).writes == {0}
        assert read == [_decides_deep_inside]

    def test_a_second_analysis_reads_nothing_that_the_first_one_read(self, read: list[object]) -> None:
        graph = fx.Graph()
        graph.output(graph.call_function(_decides_deep_inside, (graph.placeholder("a"), 0.1, 2)))
        summaries = Summaries()
        for _ in range(2):
            assert analyze_effects(fx.GraphModule(nn.Module(), graph), summaries=summaries).writes
        assert read == [_decides_deep_inside]

    def test_a_constant_that_is_handed_on_by_keyword_does_not_matter_either(self, read: list[object]) -> None:
        def scales(a: Tensor, n: float) -> Tensor:
            return torch.add(a, a, alpha=n)

        summaries = Summaries()
        for n in (1.0, 2.0, 3.0):
            assert not summaries.behaviour(scales, None, _call(scales, n), _KINDS).writes
        assert read == [scales]

    def test_a_number_is_what_it_is_equal_to(self, read: list[object]) -> None:
        def drops(a: Tensor, p: float, n: int) -> Tensor:
            return functional.dropout(a, p)

        summaries = Summaries()
        for n in (1, 2):
            assert summaries.behaviour(drops, None, _call(drops, float("0.3"), n), _KINDS).random
        assert read == [drops]

    def test_a_branch_deep_inside_tells_calls_apart(self, read: list[object]) -> None:
        summaries = Summaries()
        writes = [
            bool(summaries.behaviour(_decides_deep_inside, None, _call(_decides_deep_inside, p, 2), _KINDS).writes)
            for p in (0.1, 0.9, 0.2, 0.8, 0.5)
        ]
        assert writes == [True, False, True, False, False]
        assert len(read) == 2

    def test_a_number_is_not_its_equal_of_another_type(self) -> None:
        def asks_for_the_type(a: Tensor, p: float) -> Tensor:
            return a.add_(p) if isinstance(p, bool) else a + p

        summaries = Summaries()
        for p in (1, True, 1.0):
            found = summaries.behaviour(asks_for_the_type, None, _call(asks_for_the_type, p), _KINDS)
            assert bool(found.writes) == isinstance(p, bool)

    def test_what_a_rule_looks_at_is_decided_on(self) -> None:
        def drops(a: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
            return functional.dropout(a, p, training=training, inplace=inplace)

        summaries = Summaries()
        for values in itertools.product((0.0, 0.5), (False, True), (False, True)):
            node = _call(drops, *values)
            assert summaries.behaviour(drops, None, node, _KINDS) == _directly(drops, node)

    def test_what_raised_is_decided_on(self) -> None:
        def divides(a: Tensor, n: int) -> Tensor:
            return a.add_(1) if 1 // n > 0 else a + 1

        def divides_and_asks_for_the_type(a: Tensor, n: int) -> Tensor:
            return a + 1 if isinstance(1 // n, int) else a.add_(1)

        def divides_and_writes_for_the_type(a: Tensor, n: int) -> Tensor:
            return a.add_(1) if isinstance(1 // n, int) else a + 1

        for function in (divides, divides_and_asks_for_the_type, divides_and_writes_for_the_type):
            summaries = Summaries()
            for n in (2, 0, 1, 2, 0, 1):
                node = _call(function, n)
                assert summaries.behaviour(function, None, node, _KINDS) == _directly(function, node)

    def test_a_call_with_another_kind_of_value_is_read_for_itself(self) -> None:
        def doubles(a: Any) -> Any:
            return a + a

        summaries, node = Summaries(), _call(doubles)
        returns = [summaries.behaviour(doubles, None, node, {_A: kind}).returns for kind in ("tensor", "any")]
        assert returns == [frozenset(), frozenset([0])]

    def test_a_tuple_of_numbers_tells_calls_apart(self) -> None:
        def writes_if_told(a: Tensor, told: tuple[bool]) -> Tensor:
            return a.add_(1) if told[0] else a + 1

        summaries = Summaries()
        for told in (True, False):
            found = summaries.behaviour(writes_if_told, None, _call(writes_if_told, (told,)), _KINDS)
            assert bool(found.writes) == told

    @pytest.mark.parametrize(
        "make",
        [
            lambda node: [node, 1],
            lambda _node: [float("0.25"), 1],
            lambda node: (node, 1),
            lambda node: {"a": node},
            lambda node: slice(node, None),
        ],
        ids=["list", "list of numbers", "tuple", "dict", "slice"],
    )
    def test_calls_that_pass_containers_of_values_share_a_reading(
        self, read: list[object], make: Callable[[fx.Node], Any]
    ) -> None:
        def returns_the_second(a: Tensor, held: Any) -> Any:
            return held

        summaries = Summaries()
        for value in (_A, _B):
            node = _call(returns_the_second, make(value))
            assert summaries.behaviour(returns_the_second, None, node, _KINDS).returns == {1}
        assert read == [returns_the_second]

    def test_the_number_of_readings_that_are_looked_through_is_bounded(self, read: list[object]) -> None:
        def takes_the_number_itself(a: Tensor, n: int) -> Tensor:
            return functional.dropout(a, n / 100)

        summaries = Summaries()
        for n in range(100):
            summaries.behaviour(takes_the_number_itself, None, _call(takes_the_number_itself, n), _KINDS)
        assert len(read) == 100
        assert all(len(readings) <= 8 for readings in summaries._readings.values())


class _Shifts(nn.Module):
    def __init__(self, by: int, where: Any = None, act: Callable[..., Any] = torch.relu) -> None:
        super().__init__()
        self.by, self.where, self.act = by, where, act

    def forward(self, a: Tensor) -> Tensor:
        return self.act(a.add_(self.by) if self.by > 2 and self.where is None else a + self.by)


class TestModules:
    def test_the_attributes_of_a_module_are_like_constants_that_are_passed(self, read: list[object]) -> None:
        modules = [_Shifts(by) for by in (1, 2, 3, 4, 0)]
        summaries = Summaries()
        writes = [bool(summaries.behaviour(each, None, _call(each), _KINDS).writes) for each in modules]
        assert writes == [False, False, True, True, False]
        assert len(read) == 2

    def test_a_constant_that_is_asked_for_very_often_is_decided_on_once(self, read: list[object]) -> None:
        class AsksOften(nn.Module):
            rate: float

            def forward(self, a: Tensor) -> Tensor:
                for _ in range(100):
                    a = functional.dropout(a, self.rate)
                return a

        summaries = Summaries()
        for _ in range(2):
            module = AsksOften()
            module.rate = 0.5
            assert summaries.behaviour(module, None, _call(module), _KINDS).random
        assert len(read) == 1

    def test_a_module_that_takes_the_place_of_one_that_is_gone_is_read_for_itself(self) -> None:
        summaries = Summaries()
        for by in (1, 3) * 8:
            module = _Shifts(by)
            assert bool(summaries.behaviour(module, None, _call(module), _KINDS).writes) == (by > 2)
            del module

    def test_layers_that_look_the_same_are_read_once(self, read: list[object]) -> None:
        summaries = Summaries()
        for module in [*(ops.MLP(3, [4, 4], dropout=0.1) for _ in range(3)), ops.MLP(3, [4, 4], inplace=True)]:
            node = _call(module)
            assert summaries.behaviour(module, None, node, _KINDS) == _directly(module, node)
        assert len(read) == 2

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (lambda: _Shifts(3), lambda: _Shifts(3, where=1)),
            (lambda: _Shifts(1), lambda: _Shifts(1, act=torch.relu_)),
            (lambda: nn.ReLU(), lambda: nn.ReLU(inplace=True)),
            (lambda: nn.Sequential(nn.ReLU()), lambda: nn.Sequential(nn.ReLU(inplace=True))),
            (lambda: _Inside(_Shifts(1)), lambda: _Inside(_Shifts(3))),
            (lambda: _AsksForAList(torch.ones(1)), lambda: _AsksForAList([1])),
            (lambda: nn.Sequential(_Shifts(1)), lambda: nn.Sequential(_Shifts(3))),
            (lambda: nn.Sequential(nn.ReLU()), lambda: nn.Sequential(nn.Sequential(nn.ReLU(inplace=True)))),
            (lambda: _PicksOne(nn.ReLU(), nn.ReLU()), lambda: _PicksOne(*[nn.ReLU()] * 2)),
            (lambda: _PicksOne(nn.ReLU(), nn.ReLU()), lambda: _PicksOne(nn.ReLU(), None)),
            (lambda: _Three(0), lambda: _Three(1)),
            (lambda: nn.Sequential(_HasBias(None)), lambda: nn.Sequential(_HasBias(nn.Parameter(torch.ones(1))))),
            (
                lambda: _hooked(nn.Sequential(nn.ReLU()), lambda *_: None),
                lambda: _hooked(nn.Sequential(nn.ReLU()), _write),
            ),
            (lambda: nn.Sequential(nn.ReLU()), lambda: _hooked_behind(nn.Sequential(nn.ReLU()), _write)),
        ],
    )
    def test_a_difference_that_shows_is_seen(
        self, one: Callable[[], nn.Module], other: Callable[[], nn.Module]
    ) -> None:
        summaries = Summaries()
        for module in (one(), other(), one()):
            node = _call(module)
            assert summaries.behaviour(module, None, node, _KINDS) == _directly(module, node)

    @pytest.mark.parametrize(
        "make",
        [lambda: [1, 2], lambda: {"rate": 0.5}, lambda: {1, 2}, lambda: torch.ones(2), lambda: (float("0.25"), 1)],
        ids=["list", "dict", "set", "tensor", "tuple"],
    )
    def test_modules_that_hold_something_alike_share_a_reading(
        self, read: list[object], make: Callable[[], object]
    ) -> None:
        summaries = Summaries()
        for _ in range(2):
            module = _Holds(make())
            assert summaries.behaviour(module, None, _call(module), _KINDS) == Behaviour(kind="tensor")
        assert len(read) == 1

    def test_what_a_module_holds_may_be_compared_in_a_way_of_its_own(self) -> None:
        summaries = Summaries()
        for rate in (1, 2):
            module = _Holds(SimpleNamespace(rate=rate))
            assert summaries.behaviour(module, None, _call(module), _KINDS) == Behaviour(kind="tensor")

    def test_a_list_that_a_module_keeps_is_read_as_a_list(self) -> None:
        module = _Collects()
        node = _call(module)
        assert Summaries().behaviour(module, None, node, _KINDS) == _directly(module, node)


class _Holds(nn.Module):
    def __init__(self, held: object) -> None:
        super().__init__()
        self.held = held

    def forward(self, a: Tensor) -> Tensor:
        return a + 1


class _AsksForAList(_Holds):
    def forward(self, a: Tensor) -> Tensor:
        return a.add_(1) if isinstance(self.held, list) else a + 1


class _Collects(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, a: Tensor) -> Tensor:
        self.kept.append(a)
        return a + 1


class _Inside(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.by, self.layer = 1, layer

    def forward(self, a: Tensor) -> Tensor:
        return self.layer(a)


class _PicksOne(nn.Module):
    def __init__(self, left: nn.Module, right: nn.Module | None) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, a: Tensor) -> Tensor:
        layer = self.left if a.sum() > 0 else self.right
        return a.add_(1) if self.right is None else layer(a)


class _Three(nn.ModuleDict):
    def __init__(self, third: int) -> None:
        layers = [nn.ReLU(), nn.ReLU()]
        super().__init__(dict(zip("abc", [*layers, layers[third]], strict=True)))

    def forward(self, a: Tensor) -> Tensor:
        layer = self["a"] if a.sum() > 0 else self["c"]
        return layer(a)


class _HasBias(nn.Module):
    def __init__(self, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.register_parameter("bias", bias)

    def forward(self, a: Tensor) -> Tensor:
        return a + 1 if self.bias is None else a.add_(self.bias)


def _hooked(module: nn.Module, hook: Callable[..., Any]) -> nn.Module:
    module.register_forward_pre_hook(hook)
    return module


def _hooked_behind(module: nn.Module, hook: Callable[..., Any]) -> nn.Module:
    module.register_forward_hook(hook)
    return module


def _write(_module: nn.Module, args: Any, _result: Any = None) -> None:
    args[0].add_(1)


_NUMBERS = (
    "p",
    "n",
    "q",
    "1 - p",
    "p * n",
    "n % 2",
    "-q",
    "min(p, n)",
    "n // 2",
    "2.5 / n",
    "int(flag) + n",
    "len(mode)",
)
_LIMITS = ("0", "0.5", "1", "n", "2.0")
_numbers = st.sampled_from(_NUMBERS)
_conditions = st.one_of(
    st.builds("{} {} {}".format, _numbers, st.sampled_from(["<", ">", "==", "!=", "<="]), st.sampled_from(_LIMITS)),
    st.sampled_from(
        ["flag", "mode == 'row'", "p", "n", "mode", "isinstance(p, float)", "a.sum() > 0", "p is None", "q is n"]
    ),
)
_tests = st.recursive(
    _conditions,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner),
    ),
    max_leaves=3,
)
_plain = st.sampled_from(
    [
        "a.add_(1)", "b = a", "b = a.clone()", "b.mul_(q)", "a = a.view(-1, n)", "b = F.dropout(a, p, flag)",
        "b = F.dropout(b, 0.5, True, flag)", "b = (a, a.clone())[flag]", "b = [a, a + 1][n]", "q = inner(a, p, n, flag)",
        "b = pick(a, q, mode)", "b = F.relu(b, n > 1)", "q += 1", "b = torch.rand(2)", "b = a.to(dtype, copy=flag)",
    ]
)  # fmt: skip
_assignments = st.builds("q = {}".format, _numbers)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for each in lines for line in each.splitlines())


_statements = st.recursive(
    st.one_of(_plain, _assignments),
    lambda inner: st.one_of(
        st.builds(
            lambda test, body, other: f"if {test}:\n{_indented(body)}\nelse:\n{_indented(other)}",
            _tests, st.lists(inner, min_size=1, max_size=2), st.lists(inner, min_size=1, max_size=2),
        ),
        st.builds(
            lambda head, body: f"{head}:\n{_indented(body)}",
            st.sampled_from(["for i in range(n)", "for q in (p, n)", "while q > n", "while a.sum() > q"]),
            st.lists(inner, min_size=1, max_size=2),
        ),
        st.builds("b = a if {} else b".format, _tests),
    ),
    max_leaves=6,
)  # fmt: skip
_bodies = st.lists(_statements, min_size=1, max_size=5).map(lambda lines: _indented([*lines, "return b"]))
_constants = st.tuples(
    st.sampled_from([0.0, 0.3, 0.7, 1.0, 1]),
    st.sampled_from([0, 1, 2, 3]),
    st.booleans(),
    st.sampled_from(["row", "batch", ""]),
)
_HELPERS = """
def inner(a, p, n, flag):
    return n + 1 if p > 0.5 else (a.shape[0] if flag else p)

def pick(a, q, mode):
    if mode == 'row':
        a = a + q
    return a.relu_() if q > 1 else a.relu()
"""
_numbers_of_files = itertools.count()


def _run(source: str) -> dict[str, Any]:
    name = f"<generated {next(_numbers_of_files)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"torch": torch, "F": functional, "nn": nn, "dtype": torch.float32}
    exec(compile(source, name, "exec"), namespace)
    return namespace


@given(_bodies, st.lists(_constants, min_size=2, max_size=6))
def test_a_reading_serves_only_calls_that_it_would_have_read_the_same(body: str, calls: list[Any]) -> None:
    function = _run(f"{_HELPERS}\ndef function(a, p, n, flag, mode):\n    b, q = a, n\n{body}\n")["function"]
    summaries = Summaries()
    for constants in calls:
        node = _call(function, *constants)
        expected = _directly(function, node)
        assert summaries.behaviour(function, None, node, _KINDS) == expected, constants
        event("opaque" if expected.links else "read")


@given(_bodies, st.lists(_constants, min_size=2, max_size=6))
def test_a_reading_serves_only_modules_that_it_would_have_read_the_same(body: str, calls: list[Any]) -> None:
    head = "class Generated(nn.Module):\n    def forward(self, a):\n"
    names = "p, n, flag, mode = self.p, self.n, self.flag, self.mode"
    text = "\n".join(f"    {line}" for line in f"    {names}\n    b, q = a, n\n{body}".splitlines())
    generated = _run(f"{_HELPERS}\n{head}{text}\n")["Generated"]
    summaries = Summaries()
    for constants in calls:
        module = generated()
        module.p, module.n, module.flag, module.mode = constants
        node = _call(module)
        assert summaries.behaviour(module, None, node, _KINDS) == _directly(module, node), constants
