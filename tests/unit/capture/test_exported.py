from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.capture.exported import capture_exported, capture_program
from fxpasses.capture.values.guards import guards_of
from fxpasses.errors import ArgumentTypeError, CaptureError, FidelityWarning, GuardError
from fxpasses.feature_extraction.captures import folded
from fxpasses.graph.meta import capture_record
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes, names_of


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.same = nn.Identity()
        self.drop = nn.Dropout()
        self.relu = nn.ReLU(inplace=True)
        self.gain = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x, scale=None):
        y = self.relu(self.norm(self.conv(x)))
        y = self.drop(self.same(y))
        y = self.relu(y * self.gain + 1)
        return {"y": y if scale is None else y * scale, "x": x}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.second = Block()

    def forward(self, x, extra=None):
        y = self.first(x)["y"]
        z = self.first(y)["y"]
        out = self.second(z, scale=2)["y"]
        return {"out": out, "extra": [extra["q"] + 1], "shape": out.shape[1]}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def inputs():
    return (torch.randn(2, 3, 4, 4),), {"extra": {"q": torch.ones(2)}}


@pytest.fixture
def exported(net, inputs):
    return capture_exported(net, *inputs)


def test_it_takes_and_returns_what_the_model_does(net, exported):
    x, extra = torch.randn(5, 3, 4, 4), {"q": torch.randn(5)}
    found, expected = exported(x, extra=extra), net(x, extra=extra)
    assert list(found) == list(expected)
    assert torch.equal(found["out"], expected["out"])
    assert torch.equal(found["extra"][0], expected["extra"][0])
    assert found["shape"] == expected["shape"]


def test_parameters_and_buffers_are_the_models_own(net, exported):
    mine, own = dict(net.named_parameters()), dict(exported.named_parameters())
    assert own
    assert all(own[name] is mine[name] for name in own)
    assert exported.first.norm.running_mean is net.first.norm.running_mean


def test_layers_fold_back_into_module_calls(net, exported):
    names = list(names_of(folded(exported), "exact").values())
    x = torch.randn(3, 3, 4, 4)
    exported.graph.lint()
    assert names[:9] == [
        "x", "extra", "first.conv", "first.norm", "first.relu", "first.same", "first.drop", "first.first_gain", "first.mul"
    ]  # fmt: skip
    assert not any("conv2d" in name for name in names)
    assert torch.equal(exported(x, extra={"q": torch.ones(3)})["out"], net(x, extra={"q": torch.ones(3)})["out"])


def test_modules_without_operations_can_be_named(net, exported):
    values = NamedValues(NameNodes()(exported).graph_module)
    assert {"first.same", "first.drop", "first", "second", "first.relu"} <= set(values.names())


def test_each_call_of_a_module_is_recorded(exported):
    calls = capture_record(exported).calls
    assert [call.key for call in calls if call.path == "first"] == ["first", "first@1"]
    assert [call.key for call in calls if call.path == "first.same"] == ["first.same", "first.same@1"]
    assert {call.parent for call in calls if call.path == "first.same"} == {"first", "first@1"}


def test_both_captures_give_a_resnet_the_same_names():
    class Residual(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            y += x
            return torch.relu(y)

    model = nn.Sequential(Residual(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), nn.Flatten())
    from fxpasses.capture import capture_symbolic

    one, other = capture_symbolic(model), folded(capture_exported(model, torch.randn(2, 3, 4, 4)))
    assert list(names_of(one, "exact").values()) == list(names_of(other, "exact").values())


def test_train_mode_exports_the_training_graph():
    model = Net()
    extractor = create_feature_extractor(
        model, ["first", "second.norm"], example_inputs=torch.randn(2, 3, 4, 4),
        example_kwargs={"extra": {"q": torch.ones(2)}}, capture="export", suppress_diff_warning=True,
    )  # fmt: skip
    x, extra = torch.randn(3, 3, 4, 4), {"q": torch.ones(3)}
    before = model.first.norm.num_batches_tracked.item()
    torch.manual_seed(3)
    found = extractor(x, extra=extra)
    assert model.first.norm.num_batches_tracked.item() == before + 2
    kept: dict[str, Any] = {}
    model.second.norm.register_forward_hook(lambda _, __, output: kept.update(norm=output.clone()))
    torch.manual_seed(3)
    model(x, extra=extra)
    assert torch.equal(found["second.norm"], kept["norm"])


def test_a_saved_program_is_taken_with_its_own_parameters(net, inputs, tmp_path):
    program = torch.export.export(net, *inputs)
    torch.export.save(program, tmp_path / "net.pt2")
    captured = capture_program(str(tmp_path / "net.pt2"))
    assert torch.equal(captured(*inputs[0], **inputs[1])["out"], net(*inputs[0], **inputs[1])["out"])
    names = list(names_of(captured, "exact").values())
    assert "first.conv.conv2d" in names or "first.conv" in names


def test_a_program_of_the_model_shares_its_parameters(net, inputs):
    program = torch.export.export(net, *inputs, preserve_module_call_signature=("first.conv",))
    captured = capture_program(program, net)
    assert captured.first.gain is net.first.gain


@dataclass
class Output:
    value: Any


pytree.register_dataclass(Output)


def test_a_registered_class_goes_out():
    class Made(nn.Module):
        def forward(self, x):
            return Output(x + 1)

    captured = capture_exported(Made(), torch.zeros(2))
    assert type(captured(torch.zeros(2))) is Output


class Cache:
    """A class that `torch.export` does not know."""

    def __init__(self, *kept: Any) -> None:
        self.kept, self.label = list(kept), "cache"


class Caching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.inner = Keeping()

    def forward(self, x):
        y = self.first(x)
        cache = Cache(y)
        return {"y": self.second(self.inner(y, cache)), "cache": cache, "size": [x.shape[0]]}


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, y, cache):
        cache.kept.append(self.relu(y))
        return cache.kept[-1]


def test_an_object_of_any_class_goes_out():
    model = Caching()
    forward = model.forward
    captured = capture_exported(model, torch.randn(2, 2))
    assert model.forward == forward
    assert "forward" not in vars(model)
    x = torch.randn(5, 2)
    found, expected = captured(x), model(x)
    assert list(found) == list(expected)
    assert (type(found["cache"]), found["cache"].label, found["size"]) == (Cache, "cache", [5])
    for ours, theirs in zip(found["cache"].kept, expected["cache"].kept, strict=True):
        assert torch.equal(ours, theirs)


def test_modules_that_take_such_an_object_leave_the_others_their_names():
    model = Caching()
    values = NamedValues(NameNodes()(capture_exported(model, torch.randn(2, 2))).graph_module)
    assert {"first", "second", "inner", "inner.relu"} <= set(values.names())


class Constants(nn.Module):
    """Makes constants inside of a module, under the same name in two of them."""

    def __init__(self, number=1.0, inner=None):
        super().__init__()
        self.number, self.inner = number, inner

    def forward(self, x):
        x = x if self.inner is None else self.inner(x)
        return x * torch.tensor([self.number, 2.0])


def test_constants_of_inner_modules_are_buffers_outside_of_the_state_dict():
    model = Constants(1.0, Constants(3.0, Constants(5.0)))
    captured = capture_exported(model, torch.randn(3, 2))
    x = torch.randn(4, 2)
    assert torch.equal(captured(x), model(x))
    assert not captured.state_dict()
    assert len(list(captured.buffers())) == 3


class Settings(nn.Module):
    """Computes in blocks, one inside another, that a graph does not carry over."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        with torch.no_grad():
            y = self.linear(x) * 2
            with torch.enable_grad():
                z = self.linear(x) + 1
        with torch.autocast("cpu", enabled=False):
            z = z - 1
        return y, z


def test_a_recurrent_layer_in_train_mode_is_exported_without_a_warning():
    model, x = nn.Sequential(nn.GRU(2, 3)).train(), torch.randn(4, 1, 2)
    extractor = create_feature_extractor(model, ["0"], capture="export", example_inputs=(x,), mode="train")
    assert torch.equal(extractor(x)["0"][0], model(x)[0])


class WritesWhatItReturns(nn.Module):
    """Writes into what it returns, and then returns it; does nothing with it the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.nothing = Writes(), nn.Sequential()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        written = self.nothing(self.block(torch.tanh(x)))
        return written.add_(x)


class Writes(nn.Module):
    """Its last operation is a write through a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        copied = x.clone()
        copied[::2].mul_(3)
        return copied


def test_a_modules_value_is_what_it_had_written_when_it_returned():
    x = torch.linspace(-1, 1, 8).reshape(4, 2)
    model = WritesWhatItReturns()
    wanted = {"block": "block", "nothing": "nothing", "add": "last"}
    features = create_feature_extractor(model, wanted, capture="export", example_inputs=(x,))(x)
    block = model.block(torch.tanh(x))
    assert torch.equal(features["block"], block)
    assert torch.equal(features["nothing"], block)
    assert torch.equal(features["last"], block + x)


def test_blocks_are_put_back_among_the_other_operations():
    model = Settings()
    captured = capture_exported(model, torch.randn(3, 2))
    x = torch.randn(4, 2)
    for ours, theirs in zip(captured(x), model(x), strict=True):
        assert torch.equal(ours, theirs)
    values = NamedValues(NameNodes()(captured).graph_module)
    assert {"linear", "linear@1"} <= set(values.names())
    losses = [(loss.path, loss.what.split(",")[0]) for loss in capture_record(captured).losses]
    assert losses == [("linear", "computes under torch.no_grad"), ("", "computes under torch.no_grad")]


def test_a_block_that_a_feature_needs_is_a_warning():
    with pytest.warns(FidelityWarning, match=r"module 'linear' \(Linear\) computes under torch.no_grad"):
        create_feature_extractor(Settings().eval(), ["linear"], example_inputs=torch.randn(3, 2), capture="export")


def test_an_exported_extractor_can_be_pickled(net, inputs):
    args, kwargs = inputs
    extractor = create_feature_extractor(
        net, ["first", "second.norm"], example_inputs=args, example_kwargs=kwargs, capture="export",
        suppress_diff_warning=True,
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(extractor))
    for key, value in extractor(*args, **kwargs).items():
        expected = pytree.tree_leaves(value)
        for ours, theirs in zip(pytree.tree_leaves(again(*args, **kwargs)[key]), expected, strict=True):
            assert torch.equal(ours, theirs)


def test_a_resnet_has_the_names_of_its_layers():
    import torchvision

    model = torchvision.models.resnet18(weights=None).eval()
    x = torch.randn(3, 3, 32, 32)
    names = get_graph_node_names(model, mode="eval", example_inputs=x[:2], capture="export")
    assert names == get_graph_node_names(model, mode="eval")
    extractor = create_feature_extractor(model, ["layer1.0.conv1", "layer2"], example_inputs=x[:2], capture="export")
    expected = create_feature_extractor(model, ["layer1.0.conv1", "layer2"])(x)
    for key, value in extractor(x).items():
        assert torch.equal(value, expected[key])


def test_sizes_that_the_export_fixed_are_guards(net, inputs, exported):
    guards = guards_of(exported)
    assert "(any, 3, 4, 4)" in str(guards)
    guards.check((torch.zeros(7, 3, 4, 4),), {"extra": {"q": torch.zeros(7)}})
    with pytest.raises(GuardError, match=r"\(any, 3, 4, 4\); got \(7, 3, 5, 4\)"):
        guards.check((torch.zeros(7, 3, 5, 4),), {"extra": {"q": torch.zeros(7)}})


def test_a_batch_of_one_as_example_leaves_the_batch_size_free():
    model = nn.Sequential(nn.Linear(2, 3))
    captured = capture_exported(model, torch.ones(1, 2))
    x = torch.randn(5, 2)
    assert torch.equal(captured(x), model(x))


def test_a_model_that_cannot_be_exported_is_a_typed_error():
    class Decides(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(CaptureError, match="Decides cannot be exported"):
        capture_exported(Decides(), torch.ones(2))


def test_something_else_than_a_program_is_an_error():
    with pytest.raises(ArgumentTypeError, match="ExportedProgram"):
        capture_program(3)  # type: ignore[arg-type]


class Using(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.shared = shared
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return torch.relu(self.shared(x)) * self.gain


class Sharing(nn.Module):
    """Calls what it shares on every path but the first."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(3, 3), nn.Identity())
        self.a, self.b = Using(self.shared), Using(self.shared)
        self.again = self.b

    def forward(self, x):
        return self.again(self.b(self.a(x)))


def test_a_module_with_several_paths_goes_by_its_first_one():
    model, x = Sharing().eval(), torch.randn(2, 3)
    _, names = get_graph_node_names(model, capture="export", example_inputs=(x,))
    _, expected = get_graph_node_names(model)
    exported = capture_exported(model, x)
    assert [name for name in names if name.startswith("shared")] == [
        name for name in expected if name.startswith("shared")
    ]
    assert set(exported.state_dict()) == set(model.state_dict()) - {
        key for key in model.state_dict() if key.startswith(("a.shared", "b.shared", "again"))
    }
    keys = [call.key for call in capture_record(exported).calls]
    assert [key for key in keys if key.startswith("shared.0")] == ["shared.0", "shared.0@1", "shared.0@2"]
    assert [key for key in keys if key.startswith("shared.1")] == ["shared.1", "shared.1@1", "shared.1@2"]
    assert [key for key in keys if key.startswith("b")] == ["b", "b@1"]
    extractor = create_feature_extractor(model, ["shared.1_2", "b"], capture="export", example_inputs=(x,))
    found = extractor(x)
    once = model.b(model.a(x))
    assert torch.equal(found["b"], once)
    assert torch.equal(found["shared.1_2"], model.shared(once))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pair):
        return self.norm(pair["image"]) + pair["offset"]


def test_a_part_of_an_argument_is_read_before_the_layer_that_takes_it():
    model, pair = Counting(), {"offset": torch.ones(1), "image": torch.randn(2, 3, 4, 4)}
    exported = folded(capture_exported(model, (pair,), training=True))
    exported.graph.lint()
    assert [str(node.target) for node in exported.graph.find_nodes(op="call_module")] == ["norm"]
    assert torch.equal(exported(pair), Counting()(pair))


class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Buffer(torch.rand(4, 3))
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(self.table) + x


def test_a_buffer_that_only_a_layer_takes_is_read_before_that_layer():
    model, x = Tabular(), torch.randn(4, 3)
    exported = folded(capture_exported(model, x))
    assert [(node.op, str(node.target)) for node in exported.graph.nodes][1:3] == [
        ("get_attr", "table"),
        ("call_module", "layer"),
    ]
    assert torch.equal(exported(x), model(x))
    assert get_graph_node_names(model, capture="export", example_inputs=(x,)) == get_graph_node_names(model)


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.caching = Caching()

    def forward(self, x):
        y = self.caching(x)["y"]
        return y if y.sum() > 0 else -y


def test_the_failure_is_the_models_own_and_no_longer_than_a_line(capfd):
    with pytest.raises(CaptureError, match=r"Deciding cannot be exported: .*data-dependent") as caught:
        capture_exported(Deciding(), torch.ones(3, 2))
    assert all(len(line) < 300 for line in str(caught.value).splitlines())
    assert "aten" not in capfd.readouterr().err
