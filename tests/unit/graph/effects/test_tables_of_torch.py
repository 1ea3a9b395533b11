"""The tables of words about functions and modules of torch, held against what torch does when it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from unit.graph.effects.seen_calls import Args, assert_allowed, assert_reads_no_element, see, seen_calls

from fxpasses.graph.effects import functional as functionals
from fxpasses.graph.effects import functions, modules, schema
from fxpasses.graph.effects.behaviour import SHAPE_ONLY, STATE
from fxpasses.graph.effects.functions import behaviour_of_function
from fxpasses.graph.effects.modules import behaviour_of_module


def _f(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 2), generator=torch.Generator().manual_seed(0))


def _forms() -> list[Args]:
    """Arguments that one function or another takes."""
    ones = [
        _f(),
        torch.tensor([1, 2]),
        _f(2, 4, 4),
        _f(1, 4, 4, 4),
        _f(3),
        [_f(), _f()],
        _f().to(torch.complex64),
        _f() > 2,
    ]
    more = [
        (_f(), _f()),
        (_f(), 1),
        (_f(), 0, 1),
        (_f(), _f(), _f()),
        (_f(), [2, 2]),
        (_f(4), 2),
        (_f(4, 4), 0, [2, 2]),
    ]
    last = [
        (_f(), "float32"),
        (torch.tensor([1, 2]), 1),
        (_f(1, 4, 4, 4), 2),
        (_f(), 0, torch.tensor([[0, 1], [1, 0]])),
    ]
    deep = [
        (_f(3), _f(3)),
        ([_f(), _f()], 0),
        (_f(2, 2, 2), _f(2, 2, 2)),
        (_f(), 0, 0, 1),
        (_f(), (0,), (1,)),
        (_f(), torch.float32),
    ]
    return [*((each,) for each in ones), *more, *last, *deep]


_AMBIENT = frozenset("manual_seed seed set_rng_state from_file init_num_threads".split())


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for place, owner in list(functions._owners())[:-1]:
        for name in dir(owner):
            function = getattr(owner, name, None)
            if name.startswith("_") or name in _AMBIENT or isinstance(function, type) or not callable(function):
                continue
            if function in functions._places():
                yield f"{place}.{name}", function


def test_no_function_of_torch_does_more_than_is_said_of_it() -> None:
    called = 0
    for name, function in {id(function): (name, function) for name, function in _functions()}.values():
        calls = [(seen, behaviour_of_function(function, seen.args, {})) for seen in seen_calls(function, _forms())]
        for seen, said in calls:
            if said is not None:
                assert_allowed(seen, said, name)
                called += 1
    assert called > 3000, called


def _operator(name: str) -> Callable[..., Any]:
    return next(getattr(each, name) for each in (torch, functional, Tensor, torch.ops.aten) if hasattr(each, name))


_SHARING: dict[str, Callable[[], Args]] = {
    "alpha_dropout": lambda: (_f(), 0.5, False),
    "channel_shuffle": lambda: (_f(1, 4, 2, 2), 1),
    "dropout": lambda: (_f(), 0.5, False),
    "feature_alpha_dropout": lambda: (_f(), 0.5, False),
    "feature_dropout": lambda: (_f(), 0.5, False),
    "native_channel_shuffle": lambda: (_f(1, 4, 2, 2), 1),
    "pixel_shuffle": lambda: (_f(1, 4, 1, 1), 1),
    "pixel_unshuffle": lambda: (_f(1, 1, 4, 4), 1),
    "sum_to_size": lambda: (_f(), (2, 2)),
    "type_as": lambda: (_f(), _f()),
    "unsafe_chunk": lambda: (_f(), 2),
    "unsafe_split": lambda: (_f(), 1),
    "unsafe_split_with_sizes": lambda: (_f(), [1, 1]),
    "_unsafe_view": lambda: (_f(), [4]),
    "expand_as": lambda: (_f(), _f()),
    "view_as": lambda: (_f(), _f()),
    "broadcast_tensors": lambda: (_f(), _f(3, 2, 2)),
    "cartesian_prod": lambda: (_f(2),),
    "chain_matmul": lambda: (_f(),),
    "einsum": lambda: ("ij->ji", _f()),
    "histogramdd": lambda: (_f(), [torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.5, 1.0])]),
    "meshgrid": lambda: (_f(2), _f(2)),
}
_COPIES_HERE = frozenset(
    "chain_matmul channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle _to_dense".split()
)
"""Those that may share memory on other devices or in other versions of torch, and make a copy of a dense tensor here."""


@pytest.mark.parametrize("name", sorted(schema._RETURNS_ITS_FIRST | schema._RETURNS_ANY))
def test_an_operator_whose_schema_is_silent_may_share_memory_with_its_arguments(name: str) -> None:
    function = _operator(name)
    args = _SHARING.get(name, lambda: (_f(),))()
    said = behaviour_of_function(function, args, {})
    assert said.returns == ({0} if name in schema._RETURNS_ITS_FIRST else {*range(len(args))})
    if name != "_to_dense":
        seen = see(function, *args)
        assert_allowed(seen, said, name)
        assert bool(seen.returns) != (name in _COPIES_HERE)


_STATISTICS = {
    "batch_norm": (0.1, 1e-5, False),
    "instance_norm": (0.1, 1e-5, False),
    "native_batch_norm": (0.1, 1e-5),
    "cudnn_batch_norm": (0.1, 1e-5),
    "miopen_batch_norm": (0.1, 1e-5),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", sorted(schema._RUNNING_STATISTICS))
def test_an_operator_with_running_statistics_writes_them_when_its_flag_is_set(name: str, training: bool) -> None:
    function = getattr(torch, name)
    args = (_f(2, 3, 4), None, None, torch.zeros(3), torch.ones(3), training, *_STATISTICS[name])
    said = behaviour_of_function(function, args, {})
    assert said.writes == ({3, 4} if training else set())
    if name not in ("cudnn_batch_norm", "miopen_batch_norm"):  # of other devices
        seen = see(function, *args)
        assert seen.writes == said.writes
        assert_allowed(seen, said, name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", sorted(functionals._DROPOUTS - {"feature_dropout"}))
def test_dropout_draws_and_writes_in_training_and_gives_its_input_back_otherwise(
    name: str, inplace: bool, training: bool
) -> None:
    function = getattr(functional, name)
    shape = (2, 8, 4) if name == "dropout1d" else (2, 8, 4, 4, 4)
    seen = see(function, _f(*shape) + 1, 0.5, training, inplace)
    said = behaviour_of_function(function, seen.args, {})
    assert_allowed(seen, said, name)
    assert seen.random == said.random == training
    assert seen.writes == said.writes == ({0} if training and inplace else set())
    assert said.returns == {0}


@pytest.mark.parametrize("name", ["pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"])
def test_a_rearrangement_may_give_its_input_back(name: str) -> None:
    function = getattr(functional, name)
    seen = see(function, _f(1, 4, 4, 4), 2)
    said = behaviour_of_function(function, seen.args, {})
    assert said.returns == {0}
    assert_allowed(seen, said, name)


_RANDOM_FORMS: dict[str, Callable[[], Args]] = {
    "gumbel_softmax": lambda: (_f(),),
    "fractional_max_pool2d": lambda: (_f(1, 4, 4, 4), 2, 2),
    "fractional_max_pool3d": lambda: (_f(1, 4, 4, 4, 4), 2, 2),
    "lobpcg": lambda: (torch.eye(9), 2),
    "pca_lowrank": lambda: (_f(4, 4), 2),
    "svd_lowrank": lambda: (_f(4, 4), 2),
}


@pytest.mark.parametrize("name", sorted(functionals._RANDOM | functions._RANDOM))
def test_a_function_that_is_said_to_draw_random_numbers_draws_them(name: str) -> None:
    function = _operator(name)
    seen = see(function, *_RANDOM_FORMS[name]())
    said = behaviour_of_function(function, seen.args, {})
    assert seen.random
    assert_allowed(seen, said, name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
def test_a_randomized_relu_draws_in_training_only(inplace: bool, training: bool) -> None:
    seen = see(functional.rrelu, _f() - 1, 0.1, 0.3, training, inplace)
    said = behaviour_of_function(functional.rrelu, seen.args, {})
    assert seen.random == said.random == training
    assert seen.writes == said.writes
    assert_allowed(seen, said, "rrelu")


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_attention_draws_random_numbers_for_its_dropout_only(rate: float) -> None:
    query = _f(1, 2, 4)
    inner = (_f(12, 4), None, None, None, False)
    calls: dict[str, Args] = {
        "scaled_dot_product_attention": (query, query, query, None, rate),
        "multi_head_attention_forward": (query, query, query, 4, 2, *inner, rate, _f(4, 4), None),
    }
    assert calls.keys() == functionals._RANDOM_WITH_DROPOUT.keys()
    for name, args in calls.items():
        function = getattr(functional, name)
        seen = see(function, *args)
        said = behaviour_of_function(function, args, {})
        assert seen.random == said.random == (rate > 0), name
        assert_allowed(seen, said, name)


@pytest.mark.parametrize("name", sorted(functions._SHAPE_FUNCTIONS))
def test_a_function_that_looks_at_shapes_only_gives_the_same_for_other_elements(name: str) -> None:
    function = getattr(torch, name)
    calls = seen_calls(function, [(), (_f(),)])
    assert calls
    for seen in calls:
        assert behaviour_of_function(function, seen.args, {}) == SHAPE_ONLY
        assert_allowed(seen, SHAPE_ONLY, name)
        assert_reads_no_element(function, seen)


@pytest.mark.parametrize("name", sorted(functions._SAME_MEMORY))
def test_a_function_that_makes_a_tensor_of_what_is_there_uses_its_memory(name: str) -> None:
    function = getattr(torch, name)
    array = np.ones(4, dtype=np.float32)
    seen = see(function, array, **({"dtype": torch.float32} if name == "frombuffer" else {}))
    assert seen.returns == {0}
    assert_allowed(seen, behaviour_of_function(function, seen.args, seen.kwargs), name)


_AMBIENT_FUNCTIONS: dict[str, list[tuple[Any, Args]]] = {
    "_autocast": [(torch.amp.autocast_mode._enter_autocast, ("cpu", None, True, None))],
    "_set_grad_enabled": [(torch._C._set_grad_enabled, (False,))],
    "record_function": [(torch.ops.profiler._record_function_enter_new.default, ("a",))],
    "_inference_mode": [(torch.autograd.grad_mode._enter_inference_mode, (True,))],
    "_dual_level": [(torch.autograd.forward_ad.enter_dual_level, ()), (torch._C._enter_dual_level, ())],
}


@pytest.mark.parametrize("word", functions._AMBIENT_WORDS)
def test_a_word_of_what_changes_how_later_operations_run_is_in_the_name_of_one(word: str) -> None:
    for function, args in _AMBIENT_FUNCTIONS[word]:
        said = behaviour_of_function(function, args, {})
        assert said is not None
        assert said.ambient


_Q = functools.partial(_f, 2, 3, 4)
_MODULES: list[tuple[Callable[[], nn.Module], Callable[[], Args]]] = [
    (nn.Identity, lambda: (_f(),)),
    (nn.Flatten, lambda: (_f(),)),
    (lambda: nn.Unflatten(1, (2, 1)), lambda: (_f(),)),
    (lambda: nn.ChannelShuffle(2), lambda: (_f(1, 4, 2, 2),)),
    (lambda: nn.PixelShuffle(2), lambda: (_f(1, 4, 2, 2),)),
    (lambda: nn.PixelUnshuffle(2), lambda: (_f(1, 4, 2, 2),)),
    (lambda: nn.RNN(4, 4, 2, dropout=0.5), lambda: (_Q(),)),
    (lambda: nn.LSTM(4, 4, 2, dropout=0.5), lambda: (_Q(),)),
    (lambda: nn.GRU(4, 4), lambda: (_Q(),)),
    (lambda: nn.LSTMCell(4, 4), lambda: (_f(2, 4),)),
    (lambda: nn.GRUCell(4, 4), lambda: (_f(2, 4),)),
    (lambda: nn.MultiheadAttention(4, 2, dropout=0.5), lambda: (_Q(), _Q(), _Q())),
    (lambda: nn.MultiheadAttention(4, 2), lambda: (_Q(), _Q(), _Q())),
    (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2]), lambda: (_f(2, 4), torch.tensor([1, 3]))),
    (lambda: nn.FractionalMaxPool2d(2, 2), lambda: (_f(1, 4, 4, 4),)),
    (lambda: nn.FractionalMaxPool3d(2, 2), lambda: (_f(1, 4, 4, 4, 4),)),
    (lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True), lambda: (_Q(), _Q())),
    (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 1, enable_nested_tensor=False),
        lambda: (_Q(),),
    ),
    (lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 1), lambda: (_Q(), _Q())),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8), lambda: (_Q(),)),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), lambda: (_Q(),)),
    (lambda: nn.TransformerDecoderLayer(4, 2, 8), lambda: (_Q(), _Q())),
    (lambda: nn.MaxPool2d(2, return_indices=True), lambda: (_f(1, 4, 4, 4),)),
    (lambda: nn.BatchNorm1d(4), lambda: (_f(2, 4),)),
    (lambda: nn.BatchNorm1d(4, track_running_stats=False), lambda: (_f(2, 4),)),
    (lambda: nn.InstanceNorm1d(3, track_running_stats=True), lambda: (_Q(),)),
    (lambda: nn.Embedding(4, 4, max_norm=0.1), lambda: (torch.tensor([1]),)),
    (lambda: nn.EmbeddingBag(4, 4, max_norm=0.1), lambda: (torch.tensor([[1]]),)),
    (lambda: nn.Embedding(4, 4), lambda: (torch.tensor([1]),)),
    (nn.RReLU, lambda: (_f() - 1,)),
    (lambda: nn.RReLU(inplace=True), lambda: (_f() - 1,)),
    (lambda: nn.ReLU(inplace=True), lambda: (_f() - 1,)),
    (lambda: nn.Dropout(0.5), lambda: (_f() + 1,)),
    (lambda: nn.Dropout(0.0), lambda: (_f() + 1,)),
    (lambda: nn.Dropout(0.9, inplace=True), lambda: (_f(8, 8) + 1,)),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("index", range(len(_MODULES)))
def test_a_module_of_torch_does_what_is_said_of_it(index: int, training: bool) -> None:
    make, arguments = _MODULES[index]
    module = make().train(training)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        seen = see(module, *arguments())
    said = behaviour_of_module(module, training, seen.args, {})
    assert_allowed(seen, said, module)
    assert said is not None
    assert seen.writes == said.writes - {STATE}
    assert seen.random == said.random
    changed = any(not torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert changed == (STATE in said.writes)


def test_every_class_in_the_tables_of_modules_is_called() -> None:
    made = [make() for make, _ in _MODULES]
    tables = (modules._VIEWS, modules._STRUCTURED, modules._RANDOM)
    tables += (modules._WITH_INNER_DROPOUT, modules._WITH_INNER_DROPOUT_LAYERS)
    for cls in (each for table in tables for each in table):
        assert any(isinstance(each, cls) for each in made), cls


_CONTAINERS: list[nn.Module] = [
    nn.Sequential(nn.ReLU()),
    nn.ModuleList(),
    nn.ModuleDict(),
    nn.ParameterList(),
    nn.ParameterDict(),
    nn.DataParallel(nn.ReLU()),
]


@pytest.mark.parametrize("module", _CONTAINERS, ids=lambda module: type(module).__name__)
def test_of_a_container_of_modules_nothing_is_said(module: nn.Module) -> None:
    assert type(module) in modules._CONTAINERS
    assert behaviour_of_module(module, None, ("x",), {}) is None


def test_a_lazy_module_may_do_anything() -> None:
    module = nn.LazyLinear(2)
    said = behaviour_of_module(module, None, ("x",), {})
    assert said is not None
    assert said.writes == said.returns == {0, STATE}
    assert said.random
