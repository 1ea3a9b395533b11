"""The policy for callees that no rule knows: their source is read; where it cannot be, they may do anything."""

from __future__ import annotations

import functools
import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torchvision import ops
from torchvision.models import resnet, swin_transformer
from torchvision.models.video import mvit

from fxpasses.graph.effects.behaviour import STATE, Behaviour, Kind
from fxpasses.graph.effects.source.summary import behaviour_from_source

_GRAPH = fx.Graph()
_A, _B, _C = (_GRAPH.placeholder(name) for name in "abc")


def _read(callee: Any, *args: object, kind: Kind = "tensor", training: bool | None = False, **kwargs: Any) -> Behaviour:
    return behaviour_from_source(callee, training, args or (_A,), kwargs, lambda _node: kind)


class TestTorchvisionsBlocks:
    @pytest.mark.parametrize(
        "module",
        [
            ops.Conv2dNormActivation(3, 4),
            ops.Conv3dNormActivation(3, 4),
            ops.MLP(3, [4, 4], inplace=True),
            ops.SqueezeExcitation(4, 2),
            ops.FrozenBatchNorm2d(3),
            resnet.BasicBlock(4, 4),
        ],
        ids=lambda module: type(module).__name__,
    )
    def test_write_only_what_is_their_own(self, module: nn.Module) -> None:
        behaviour = _read(module)
        assert not behaviour.writes
        assert not behaviour.returns
        assert behaviour.kind == "tensor"

    @pytest.mark.parametrize("module", [ops.StochasticDepth(0.5, "row"), ops.DropBlock2d(0.1, 3), ops.Permute([1, 0])])
    def test_may_return_their_input(self, module: nn.Module) -> None:
        behaviour = _read(module, training=None)
        assert behaviour.returns == {0}
        assert not behaviour.writes

    def test_an_in_place_drop_block_writes_its_input(self) -> None:
        assert _read(ops.DropBlock2d(0.1, 3, inplace=True), training=True).writes == {0}

    def test_a_block_that_begins_in_place_writes_its_input(self) -> None:
        assert _read(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2))).writes == {0}
        assert _read(nn.Sequential(nn.Dropout(0.5, inplace=True)), training=None).writes == {0}

    def test_running_statistics_are_state(self) -> None:
        assert _read(ops.Conv2dNormActivation(3, 4), training=True).writes == {STATE}

    def test_wrapped_functions(self) -> None:
        assert _read(mvit._add_shortcut, _A, _B, True).writes == {0}
        assert _read(mvit._add_rel_pos, _A, _B, _C, _C, _A, _A, _A).writes == {0}
        assert _read(swin_transformer._patch_merging_pad).writes == frozenset()
        attention = _read(
            swin_transformer.shifted_window_attention, _A, _B, _B, _C, (7, 7), 3, (3, 3), qkv_bias=_B, logit_scale=_C
        )
        assert not attention.writes - {6}
        assert not attention.returns


def _alias(a: Tensor, b: Tensor | None) -> Tensor:
    c = a
    if b is None:
        c = c.clone()
    c += 1
    return c


def _through_list(a: Tensor, b: Tensor) -> Tensor:
    values = [b]
    values.append(a)
    values[1].add_(1)
    return values[0]


def _only_collects(a: Tensor, b: Tensor) -> list[Tensor]:
    values: list[Tensor] = []
    for each in (a, b):
        values.append(each)
    return values


def _through_dict(a: Tensor, b: Tensor) -> Any:
    values = OrderedDict()
    values["a"] = a
    values["b"] = b
    return values


def _in_loop(a: Tensor, b: Tensor) -> Tensor:
    last = b
    for _ in range(a.shape[0]):
        current = last
        last = a
        current.mul_(2)
    return b


def _after_break(a: Tensor, b: Tensor) -> Tensor:
    current = a.clone()
    while current.sum() > 0:
        current = a
        if b.sum() > 0:
            break
        current = a.clone()
    return current.relu_()


def _in_handler(a: Tensor, b: Tensor) -> Tensor:
    current = b
    try:
        current = a
        current = a.clone()
    except RuntimeError:
        current.add_(1)
    return b


def _in_finally(a: Tensor, b: Tensor) -> Tensor:
    try:
        return b.clone()
    finally:
        a.zero_()


def _through_comprehension(a: Tensor, b: Tensor) -> list[Tensor]:
    return [each.add_(1) for each in (a, b.clone())]


def _with_inner_function(a: Tensor, b: Tensor) -> Tensor:
    def write() -> None:
        a.add_(1)

    write()
    return b


def _with_lambda(a: Tensor, b: Tensor) -> Tensor:
    return (lambda value: value.add_(1))(a) + b


def _out(a: Tensor, b: Tensor) -> Tensor:
    return torch.add(b, 1, out=a)


def _calls_another(a: Tensor, b: Tensor) -> Tensor:
    return _alias(b.view(-1), a)


def _rebinds(a: Tensor, b: Tensor) -> Tensor:
    a = a + b
    a += b
    a[:, 0] = 1
    a.relu_()
    return a


def _unpacks(a: Tensor, b: Tensor) -> Tensor:
    (first, *rest), _ = (b, a), 3
    rest[0].add_(1)
    return first


def _counts(a: Tensor, b: Tensor) -> Tensor:
    count = 0
    for _ in range(3):
        count += 1
    shape = list(a.shape)
    shape[0] = count
    return a.new_zeros(shape) + b


def _decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _two_containers(a: Tensor, b: Tensor) -> list[Tensor]:
    kept = [a]
    other = [b]
    other.append(b)
    return kept


def _by_keyword(a: Tensor, *, b: Tensor) -> Tensor:
    return b.add_(1)


def _takes_the_rest(a: Tensor, *rest: Tensor, scale: float = 1.0, **named: Tensor) -> Tensor:
    named["c"].add_(scale)
    return rest[0]


def _hands_over(a: Tensor, b: Tensor) -> Tensor:
    return _takes_the_rest(_by_keyword(a, b=a.clone()), a, scale=2.0, c=b)


class _Recorder:
    """Writes into what was put into it, when it is called without an argument."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def __call__(self) -> None:
        for each in self.kept:
            each.add_(1)


_recorder = _Recorder()


def _stores_and_calls(a: Tensor, b: Tensor) -> Tensor:
    _recorder.kept.append(a)
    _recorder()
    return b + 1


def _calls_and_stores_in_a_loop(a: Tensor, b: Tensor) -> Tensor:
    while b.sum() > 0:
        _recorder()
        _recorder.kept.append(a)
    return b + 1


@_decorated
def _wrapped(a: Tensor, b: Tensor) -> Tensor:
    a.add_(1)
    return b


@pytest.mark.parametrize(
    ("function", "writes", "returns"),
    [
        (_alias, {0}, {0}),
        (_through_list, {0, 1}, {0, 1}),
        (_only_collects, set(), {0, 1}),
        (_through_dict, set(), {0, 1}),
        (_in_loop, {0, 1}, {1}),
        (_after_break, {0}, {0}),
        (_in_handler, {0, 1}, {1}),
        (_in_finally, {0}, set()),
        (_through_comprehension, {0}, {0}),
        (_with_inner_function, {0, 1}, {0, 1}),
        (_with_lambda, {0, 1}, set()),
        (_out, {0}, {0}),
        (_calls_another, {1}, {1}),
        (_rebinds, set(), set()),
        (_unpacks, {0, 1}, {0, 1}),
        (_counts, set(), set()),
        (_two_containers, set(), {0}),
        (_hands_over, {1}, {0}),
        (_stores_and_calls, {0}, set()),
        (_calls_and_stores_in_a_loop, {0}, set()),
        (_wrapped, {0, 1}, {0, 1}),
        (functools.partial(_alias, b=None), set(), set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_function_may_do(function: Callable[..., Any], writes: set[int], returns: set[int]) -> None:
    args = (_A,) if isinstance(function, functools.partial) else (_A, _B)
    behaviour = _read(function, *args)
    # A function inside the function, and arguments that are passed on as `*args`, are taken for anything they may be.
    assert {key for key in behaviour.writes if key != STATE} == writes
    assert {key for key in behaviour.returns if key != STATE} == returns


def _returns_the_second(a: object, b: object) -> object:
    return b


def _extends(a: Any, b: Any) -> None:
    a += b


def _describes(a: Tensor) -> str:
    return f"{a}"


def _draws(a: Tensor) -> Tensor:
    return a + torch.rand(2)


def test_arguments_that_do_not_fit_the_parameters_may_be_anything() -> None:
    for args, kwargs in (((_A, _B), {}), ((_A,), {"b": _B, "c": _C}), ((_A,), {})):
        assert _read(_by_keyword, *args, **kwargs).returns == {*range(len(args)), *kwargs, STATE}
    assert _read(_by_keyword, _A, b=_B).returns == {"b"}


def test_what_is_passed_beyond_the_parameters_is_told_apart_from_the_others() -> None:
    behaviour = _read(_takes_the_rest, _A, _B, c=_C, scale=2.0)
    assert behaviour.writes == {"c"}
    assert behaviour.returns == {1}


def test_what_a_result_is() -> None:
    assert _read(_returns_the_second, _A, _B).kind == "tensor"
    assert _read(_returns_the_second, _A, [_B]).kind == "any"
    assert behaviour_from_source(_returns_the_second, False, (_A, _B), {}).kind == "any"
    assert _read(_describes).kind == "none"


def test_nodes_inside_an_argument_count_as_the_argument() -> None:
    for argument in ([_B], (_B, 1), {"b": _B}, slice(_B, None)):
        assert _read(_returns_the_second, _A, argument).returns == {1}
    assert _read(_returns_the_second, _A, slice(1, None)).returns == frozenset()


def test_what_is_added_to_a_container_may_be_found_there_and_a_tensor_holds_nothing() -> None:
    assert _read(_extends, _A, _B, kind="any").links
    assert not _read(_extends, _A, _B, kind="tensor").links


def test_what_draws_random_numbers_and_what_does_not() -> None:
    assert _read(_draws).random
    assert not _read(_describes).random


def _logs(a: Tensor) -> Tensor:
    logging.info("seen")
    return a + 1


def _warns(a: Tensor) -> Tensor:
    warnings.filterwarnings("ignore")
    return a + 1


def _asks_torch(a: Tensor) -> Tensor:
    torch.get_default_device()
    return a + 1


@pytest.mark.parametrize("function", [_logs, _warns, _asks_torch])
def test_a_helper_of_python_or_torch_that_is_given_no_tensor_does_nothing(function: Callable[..., Tensor]) -> None:
    behaviour = _read(function)
    assert not behaviour.writes
    assert not behaviour.random


def test_code_that_goes_round_too_often_may_do_anything() -> None:
    def rounds(a: Tensor) -> list[Tensor]:
        return [a for _ in range(1000) for _ in range(1000)]

    def rounds_and_does_nothing(a: Tensor) -> Tensor:
        for _ in range(1000):
            for _ in range(1000):
                pass
        return a.clone()

    for function in (rounds, rounds_and_does_nothing):
        assert _read(function).writes == {0, STATE}


class _Caches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return x + 1


class _Toggles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_place = False

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(x, inplace=self.in_place)
        self.in_place = True
        return y


class _Inherits(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parameter that is overridden
        return super().forward(input)


class _Chooses(nn.Module):
    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([first, nn.ReLU(inplace=True)])
        self.table = nn.ModuleDict({"only": first})

    def forward(self, x: Tensor) -> Tensor:
        for _, layer in enumerate(self.layers):
            x = layer(x)
        for _, layer in self.table.items():
            x = layer(x)
        return self.layers[0](x)


class _Lists(nn.Module):
    def __init__(self, method: str, layer: nn.Module) -> None:
        super().__init__()
        self.table = nn.ModuleDict({"only": layer})
        self.method = method

    def forward(self, x: Tensor) -> Tensor:
        if self.method == "items":
            for _, layer in self.table.items():
                x = layer(x)
        elif self.method == "keys":
            for name in self.table.keys():  # noqa: SIM118 - what is tested
                x = self.table[name](x)
        elif self.method == "values":
            for layer in self.table.values():
                x = layer(x)
        elif self.method == "children":
            for layer in self.table.children():
                x = layer(x)
        else:
            for _, layer in self.table.named_children():
                x = layer(x)
        return x


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.scale = 2
        return x.mul_(2)


def _generator(a: Tensor) -> Iterator[Tensor]:
    yield a


class TestModules:
    def test_what_a_module_stores_in_itself_may_be_found_there_later(self) -> None:
        behaviour = _read(_Caches())
        assert behaviour.links
        assert STATE in behaviour.writes

    def test_an_attribute_that_changes_is_not_taken_for_what_it_is_now(self) -> None:
        assert _read(_Toggles()).writes >= {0}

    def test_attributes_decide(self) -> None:
        assert _read(_Inherits(inplace=True)).writes == {0}
        assert _read(_Inherits(inplace=False)).writes == frozenset()

    def test_children_are_gone_into_one_by_one(self) -> None:
        assert _read(_Chooses(nn.Linear(2, 2))).writes == frozenset()
        assert _read(_Chooses(nn.Identity())).writes == {0}

    @pytest.mark.parametrize("method", ["items", "keys", "values", "children", "named_children"])
    def test_children_are_known_however_they_are_listed(self, method: str) -> None:
        assert _read(_Lists(method, nn.Linear(2, 2))) == Behaviour(kind="tensor")
        assert _read(_Lists(method, nn.ReLU(inplace=True))).writes == {0}

    def test_a_hook_counts_as_part_of_the_module(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2))
        handle = module.register_forward_pre_hook(lambda _module, args: args[0].add_(1))
        assert _read(module).writes >= {0}
        handle.remove()
        assert _read(module).writes == frozenset()

    def test_a_parametrised_layer_is_still_a_layer(self) -> None:
        linear = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        assert 0 not in _read(linear).writes

    def test_a_graph_module_is_read_as_well(self) -> None:
        assert _read(fx.symbolic_trace(nn.Sequential(nn.ReLU(inplace=True)))).writes == {0}

    def test_an_autograd_function_is_read_as_well(self) -> None:
        assert _read(_Double.apply).writes == {0}


class _CallsItself(nn.Module):
    def __call__(self, *args: Any) -> Any:
        return args


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [lambda: torch.jit.script(nn.Linear(2, 2)), lambda: _generator, lambda: bytearray.extend, _CallsItself],
    ids=["script", "generator", "builtin", "own __call__"],
)
def test_what_cannot_be_read_may_do_anything(make: Callable[[], Any]) -> None:
    behaviour = _read(make(), _A, _B)
    assert behaviour.writes == behaviour.returns == {0, 1, STATE}
    assert behaviour.links


def test_source_that_a_graph_holds_is_read_once_for_all_equal_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from fxpasses.graph.effects import analysis
    from fxpasses.graph.effects.source import summaries

    read: list[object] = []

    def counting(*args: Any) -> Behaviour:
        read.append(args[0])
        return behaviour_from_source(*args)

    monkeypatch.setattr(summaries, "behaviour_from_source", counting)
    graph = fx.Graph()
    value = graph.placeholder("x", type_expr=Tensor)
    for _ in range(5):
        value = graph.call_function(_rebinds, (value, value))
    graph.output(value)
    analysis.analyze_effects(fx.GraphModule(nn.Module(), graph))
    assert read == [_rebinds]
