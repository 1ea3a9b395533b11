from __future__ import annotations

import builtins
import collections
import contextlib
import functools
import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.capture.value_tracer import capture_with_values
from fxpasses.capture.values.guards import guards_of
from fxpasses.errors import ArgumentTypeError, CaptureError
from fxpasses.passes.name_nodes import names_of


def module(forward: Any) -> nn.Module:
    """Makes a module of a forward function that takes the module first."""
    return type("Made", (nn.Module,), {"forward": forward, "__module__": __name__})()


def assert_same(model: nn.Module, captured: nn.Module, *args: Any, **kwargs: Any) -> None:
    torch.manual_seed(1)
    expected = model(*args, **kwargs)
    torch.manual_seed(1)
    assert_equal(captured(*args, **kwargs), expected)


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        assert_equal(list(found.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_equal(ours, theirs)
    else:
        assert found == expected


def branch(self, x):
    return x[:, :4] if x.shape[1] > 4 else x * 2


def rounded_up(self, x):
    return torch.nn.functional.pad(x, (0, max(math.ceil(x.shape[-1] / 4) * 4 - x.shape[-1], 0)))


def length(self, x):
    return sum(x[index] for index in range(len(x)))


def iteration(self, x):
    return [row * 2 for row in x.unbind(1)]


def unpacking(self, x):
    batch, *rest = x.shape
    return x.reshape(batch, math.prod(rest))


def membership(self, x):
    return x + 1 if x.shape[1] in (3, 6) else x - 1


def membership_in_value(self, x):
    return x + 1 if 6 in x.shape else x - 1


def class_check(self, x):
    parts = [x] if isinstance(x, torch.Tensor) else x
    return torch.cat([*parts, *parts])


def is_tensor(self, x):
    return x + 1 if torch.is_tensor(x) and isinstance(x.shape[0], int) else None


def item_assignment(self, x):
    y = x.clone()
    y[:, 0] = 0
    y[:, 1] += 5
    return y


def factories(self, x):
    grid = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
    return x + grid + torch.zeros(x.shape[0], 1) + torch.full((x.size(0), 1), 2.0)


def own_tensor(self, x):
    mask = torch.ones(1, 6).expand(x.shape[0], -1)
    return x * mask


def written_own_tensor(self, x):
    out = torch.zeros(6)
    out[0] = x.sum()
    out.add_(x[0])
    return out + out[0]


def random_mask(self, x):
    return x * (torch.rand(x.shape[0], 1) > 0.5) * torch.rand(6)


def dtype_choice(self, x):
    return x.float() if x.dtype != torch.float32 else x / torch.finfo(x.dtype).max


def number_arithmetic(self, x):
    count = x.shape[0]
    count += 1
    size, rest = divmod(x.shape[1], 4)
    return x * count + size - rest + round(x.shape[1] / 4)


def in_place(self, x):
    y = x * 2
    z = y
    y += 1
    return z


def changed_shape(self, x):
    y = x * 1
    y.unsqueeze_(0)
    return y + 1 if y.ndim == 3 else y


def numpy_number(self, x):
    return x * np.float64(0.5) + np.arange(3)[1]


def named_axes(self, x):
    sizes = collections.namedtuple("Sizes", "batch width")(*x.shape)
    return x.reshape(sizes.width, sizes.batch)


FORWARDS = [
    branch, rounded_up, length, iteration, unpacking, membership, membership_in_value, class_check, is_tensor,
    item_assignment, factories, own_tensor, written_own_tensor, random_mask, dtype_choice, number_arithmetic, in_place,
    changed_shape, named_axes, numpy_number,
]  # fmt: skip


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda forward: forward.__name__)
def test_computes_what_the_model_computes(forward):
    model = module(forward)
    x = torch.randn(3, 6)
    captured = capture_with_values(model, (x,))
    captured.graph.lint()
    assert_same(model, captured, x)
    assert_same(model, captured, torch.randn(3, 6))


@pytest.mark.parametrize("forward", [each for each in FORWARDS if each is not length], ids=lambda each: each.__name__)
def test_the_batch_size_is_free_unless_the_model_decides_on_it(forward):
    model = module(forward)
    captured = capture_with_values(model, (torch.randn(3, 6),))
    assert_same(model, captured, torch.randn(5, 6))


def test_a_model_without_data_is_captured():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    forward = functools.partial(capture_with_values, model, torch.empty(2, 3, 8, 8, device="meta"))
    assert [node.op for node in forward().graph.nodes] == ["placeholder", *["call_module"] * 3, "output"]


def test_no_operation_runs_on_real_tensors():
    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for leaf in torch.utils._pytree.tree_leaves(out):
                if isinstance(leaf, torch.Tensor) and leaf.device.type != "meta" and func not in free:
                    ran.append(func)
            return out

    aten = torch.ops.aten
    free = (aten.detach.default, aten.alias.default)
    ran: list[Any] = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), module(lambda self, x: x if x.shape[2] > 3 else x[0]))
    x = torch.randn(2, 3, 8, 8)
    with Counting():
        capture_with_values(model, x)
    assert ran == []


def test_names_and_nodes_are_those_of_symbolic_capture():
    import torchvision

    model = torchvision.models.resnet18(weights=None)
    plain, valued = capture_symbolic(model), capture_with_values(model, torch.randn(1, 3, 32, 32))
    assert [(node.op, str(node.target)) for node in plain.graph.nodes] == [
        (node.op, str(node.target)) for node in valued.graph.nodes
    ]
    assert not guards_of(valued).guards


def frequencies(self, x):
    dtype, device = x.dtype, x.device
    steps = torch.arange(x.shape[1], device=device).float()
    table = (torch.arange(6, device=device, dtype=torch.float32) / 2).to(device)
    str(x.device)
    return (x + steps * table[: x.shape[1]]).to(dtype)


def test_a_table_made_on_the_device_of_a_value_is_made_by_the_graph_as_in_plain_tracing():
    from torchvision.models.feature_extraction import get_graph_node_names

    model = module(frequencies)
    captured = capture_with_values(model, (torch.ones(2, 6),))
    _, theirs = get_graph_node_names(model)
    assert list(names_of(captured, "torchvision").values()) == theirs
    assert not list(captured.buffers())
    assert_same(model, captured, torch.ones(3, 6))
    assert str(captured.to("meta")(torch.ones(2, 6, device="meta")).device) == "meta"


def test_a_decision_on_a_table_is_answered_from_a_constant():
    def forward(self, x):
        table = torch.linspace(0, 1, 4, device=x.device)
        return x * sum(each for each in table.tolist() if each > 0.5)

    model = module(forward)
    captured = capture_with_values(model, (torch.ones(2, 6),))
    assert_same(model, captured, torch.randn(3, 6))


def test_what_torch_remembers_of_its_functions_are_its_functions():
    remembered = (torch.utils._device._device_constructors, torch.overrides._get_tensor_methods)
    for cache in remembered:
        cache.cache_clear()
    model = module(lambda self, x: x.view(-1) + torch.rand(1) if x.shape[0] > 1 else x)
    capture_with_values(model, torch.ones(2, 3))
    with torch.device("meta"):
        assert torch.rand(2).device.type == "meta"
    assert torch.overrides.is_tensor_method_or_property(torch.Tensor.view)


def test_a_decision_on_a_random_number_is_one_on_data():
    torch.utils._device._device_constructors.cache_clear()
    with pytest.raises(CaptureError, match=r"decides on data(?s:.*)torch\.rand"):
        capture_with_values(module(lambda self, x: x if torch.rand([]) < 0.5 else -x), torch.ones(2))


# Arguments


def test_arguments_that_are_not_passed_keep_their_defaults():
    model = module(lambda self, x, mask=None, *, scale=2, **rest: x * scale if mask is None and not rest else x)
    captured = capture_with_values(model, (torch.ones(2),))
    assert [node.target for node in captured.graph.find_nodes(op="placeholder")] == ["x"]
    assert_same(model, captured, torch.ones(3))


def test_the_arguments_come_before_what_is_read_from_them():
    captured = capture_with_values(
        module(lambda self, pair, x: pair[0] + x), ((torch.ones(2), torch.ones(2)), torch.ones(2))
    )
    assert [node.op for node in captured.graph.nodes][:3] == ["placeholder", "placeholder", "call_function"]


def test_keyword_only_and_further_keywords_are_arguments():
    model = module(lambda self, x, *, scale, **rest: x * scale + rest["shift"])
    captured = capture_with_values(model, (torch.ones(2),), {"scale": torch.ones(2), "shift": torch.ones(2)})
    assert_same(model, captured, torch.randn(2), shift=torch.randn(2), scale=torch.randn(2))


def test_positional_extras_are_arguments():
    model = module(lambda self, *parts: torch.cat(parts))
    captured = capture_with_values(model, (torch.ones(2), torch.ones(3)))
    assert_same(model, captured, torch.randn(2), torch.randn(3))


def test_a_decorated_forward_is_traced_with_its_decorator():
    def doubled(forward):
        @functools.wraps(forward)
        def wrapper(self, *args, **kwargs):
            return forward(self, *args, **kwargs) * 2

        return wrapper

    model = module(doubled(lambda self, x, *, bias=None: x if bias is None else x + bias))
    captured = capture_with_values(model, (torch.ones(2),), {"bias": torch.ones(2)})
    assert_same(model, captured, torch.randn(2), bias=torch.randn(2))


def test_a_constant_argument_need_not_be_passed_again():
    model = module(lambda self, x, twice=False: x * 2 if twice else x)
    captured = capture_with_values(model, (torch.ones(2),), {"twice": True})
    assert torch.equal(captured(torch.ones(2)), torch.full((2,), 2.0))


@dataclass
class Pair:
    left: Any
    right: Any = None


def test_dicts_lists_and_dataclasses_go_in_and_out():
    def forward(self, batch, images, pair):
        total = sum(image.sum() for image in images)
        return {"sum": total, "both": [batch["x"] + pair.left], "pair": Pair(batch["x"], total)}

    model = module(forward)
    x = torch.randn(2, 3)
    captured = capture_with_values(model, ({"x": x, "unused": 1}, [x, x], Pair(x, None)))
    found, expected = (call({"x": x, "unused": 1}, [x, x * 2], Pair(x, None)) for call in (captured, model))
    assert_equal(found["sum"], expected["sum"])
    assert_equal(found["both"], expected["both"])
    assert isinstance(found["pair"], Pair)
    assert_equal(found["pair"].right, expected["pair"].right)


class Cache:
    def __init__(self):
        self.layers: list[Pair] = []
        self.label = "cache"


def test_an_object_of_any_class_goes_out():
    def forward(self, x):
        cache = Cache()
        cache.layers.append(Pair(x + 1, "kept"))
        return x, cache

    captured = capture_with_values(module(forward), (torch.zeros(2),))
    _, first = captured(torch.zeros(2))
    _, second = captured(torch.ones(2))
    assert first is not second
    assert (type(first), first.label, first.layers[0].right) == (Cache, "cache", "kept")
    assert torch.equal(second.layers[0].left, torch.full((2,), 2.0))


def test_an_argument_of_unknown_class_is_an_error():
    with pytest.raises(ArgumentTypeError, match="Cache"):
        capture_with_values(module(lambda self, x: x), (Cache(),))


def test_examples_that_do_not_fit_the_signature_are_an_error():
    with pytest.raises(ArgumentTypeError, match="do not fit"):
        capture_with_values(module(lambda self, x: x), (torch.ones(1), torch.ones(1)))


# State of the model


class Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(6.0))

    def forward(self, x):
        return x + self.table[: x.shape[1]] * 2 if self.table.shape[0] >= x.shape[1] else x


def test_buffers_are_read_not_folded():
    model = Buffered()
    captured = capture_with_values(model, (torch.ones(2, 3),))
    model.table.fill_(7.0)
    assert_same(model, captured, torch.ones(2, 3))


def test_a_tensor_that_the_forward_made_is_fresh_in_every_call():
    captured = capture_with_values(module(written_own_tensor), (torch.ones(2, 6),))
    first = captured(torch.ones(2, 6))
    assert torch.equal(captured(torch.ones(2, 6)), first)


def test_the_device_follows_the_input():
    captured = capture_with_values(module(factories), (torch.ones(2, 6),))
    arange = next(node for node in captured.graph.nodes if node.target is torch.arange)
    assert isinstance(arange.kwargs["device"], fx.Node)


# What is left behind


def _globals() -> dict[str, Any]:
    watched = {f"torch.{name}": value for name, value in vars(torch).items() if callable(value)}
    watched.update({"call": nn.Module.__call__, "getattr": nn.Module.__getattr__, "isinstance": builtins.isinstance})
    watched.update({f"Tensor.{name}": vars(torch.Tensor).get(name) for name in dir(torch.Tensor)})
    watched["own isinstance"] = globals().get("isinstance")
    return watched


@pytest.mark.parametrize("forward", [branch, lambda self, x: x[7, 7, 7] if x.sum() > 0 else x])
def test_nothing_stays_patched(forward):
    before = _globals()
    with contextlib.suppress(CaptureError):
        capture_with_values(module(forward), (torch.ones(2, 6),))
    assert _globals() == before


def test_two_threads_trace_at_once_while_others_run():
    models = [module(branch), nn.Sequential(nn.Linear(6, 6), module(unpacking))]
    runner = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    results: list[Any] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def trace(model: nn.Module) -> None:
        try:
            results.extend((model, capture_with_values(model, (torch.ones(2, 6),))) for _ in range(5))
        except BaseException as error:
            failures.append(error)

    def run() -> None:
        while not stop.is_set():
            if type(runner(torch.ones(1, 6))) is not torch.Tensor:
                failures.append(AssertionError("a run was traced"))

    running = threading.Thread(target=run)
    running.start()
    tracing = [threading.Thread(target=trace, args=(model,)) for model in models]
    for thread in tracing:
        thread.start()
    for thread in tracing:
        thread.join()
    stop.set()
    running.join()
    assert failures == []
    for model, captured in results:
        assert_same(model, captured, torch.randn(3, 6))


# What cannot be captured


class Inner(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x  # the decision


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: x if x.sum() > 0 else -x,
        lambda self, x: x[: int(x.sum())],
        lambda self, x: [row for row in x[x > 0] if len(x[x > 0]) > 1],
        lambda self, x: x * float(x.max()) if float(x.max()) > 1 else x,
        lambda self, x: x.tolist() if x.sum().item() > 3 else x,
    ],
    ids=["bool", "int", "len", "float", "item"],
)
def test_a_decision_on_data_is_a_typed_error_with_its_line(forward):
    with pytest.raises(CaptureError, match=r"decides on data.*(?s:.*)test_value_tracer\.py"):
        capture_with_values(module(forward), (torch.ones(2, 6),))


def test_a_decision_on_data_names_the_module():
    model = nn.Sequential(nn.Linear(6, 6), Inner())
    with pytest.raises(CaptureError, match=r"in module '1'(?s:.*)# the decision"):
        capture_with_values(model, (torch.ones(2, 6),))


def test_data_dependent_sizes_are_no_decisions():
    model = module(lambda self, x: x[x > 0] * 2)
    assert_same(model, capture_with_values(model, (torch.ones(2, 6),)), torch.randn(4, 6))


def test_examples_on_which_the_model_fails_are_told_apart():
    model = nn.Sequential(nn.Linear(5, 6), module(branch))
    with pytest.raises(CaptureError, match="The example inputs do not fit"):
        capture_with_values(model, (torch.ones(2, 6),))


def test_a_module_that_is_not_registered_is_traced_through():
    hidden = nn.Linear(6, 6)
    model = module(lambda self, x: hidden(x))
    assert_same(model, capture_with_values(model, (torch.ones(2, 6),)), torch.randn(4, 6))
