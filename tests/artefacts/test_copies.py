"""Copies of an extractor, and files with one, are the extractor: both graphs, the mode, the names."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from support.artefacts import assert_same_extractor, both_modes, features, subject
from support.oracle import assert_bit_equal
from torch import fx, nn
from torch.optim.swa_utils import AveragedModel

from fxpasses import DualGraphModule, create_feature_extractor


def pickled(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


def saved(module: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def averaged(module: Any) -> Any:
    return AveragedModel(module).module


def in_parent(copied: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Copies a module that holds the extractor, and takes the extractor out."""

    def artefact(module: Any) -> Any:
        parent = nn.Sequential(nn.Identity(), nn.ModuleDict({"backbone": module}))
        parent.training = module.training
        return copied(parent)[1]["backbone"]

    artefact.__name__ = f"in_parent_{copied.__name__}"
    return artefact


ARTEFACTS = [copy.copy, copy.deepcopy, pickled, saved, averaged, *map(in_parent, (copy.deepcopy, pickled, saved))]


@pytest.mark.parametrize("ran", [False, True], ids=["fresh", "ran"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda function: function.__name__)
def test_a_copy_is_the_extractor(artefact: Callable[[Any], Any], training: bool, ran: bool) -> None:
    _, extractor, x = subject(training)
    if ran:
        both_modes(extractor, x)
    assert_same_extractor(artefact(extractor), extractor, x)


@pytest.mark.parametrize("artefact", [copy.deepcopy, pickled], ids=lambda function: function.__name__)
def test_a_copy_of_a_resnet(artefact: Callable[[Any], Any]) -> None:
    model = torchvision.models.resnet18().eval()
    extractor = create_feature_extractor(model, ["bn1", "layer1.0.bn1", "layer2", "layer4", "fc"])
    assert_same_extractor(artefact(extractor), extractor, torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("artefact", [copy.deepcopy, pickled], ids=lambda function: function.__name__)
def test_a_copy_has_parameters_of_its_own_and_a_shallow_one_has_not(artefact: Callable[[Any], Any]) -> None:
    _, extractor, x = subject()
    expected = both_modes(extractor, x)
    copied = artefact(extractor)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert_bit_equal(both_modes(extractor, x), expected)


def test_switching_a_copy_leaves_the_original_in_its_mode() -> None:
    _, extractor, x = subject(training=True)
    expected = both_modes(extractor, x)
    for copied in (copy.deepcopy(extractor), pickled(extractor)):
        copied.eval()
        assert extractor.training
        assert extractor.graph is extractor.train_graph
    assert_bit_equal(both_modes(extractor, x), expected)


def test_a_copy_of_a_copy() -> None:
    _, extractor, x = subject(training=False)
    assert_same_extractor(pickled(copy.deepcopy(pickled(copy.deepcopy(extractor)))), extractor, x)


def test_two_references_in_one_parent_stay_one_extractor() -> None:
    _, extractor, _ = subject()
    for copied in (copy.deepcopy, pickled):
        first, second = copied(nn.ModuleList([extractor, extractor]))
        assert first is second


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_parent_switches_the_extractor_inside_of_it(training: bool) -> None:
    _, extractor, x = subject(training)
    expected = both_modes(extractor, x)
    parent = nn.Sequential(extractor)
    for mode in (not training, training, training, not training):
        parent.train(mode)
        assert extractor.training is mode
        assert_bit_equal(both_modes(extractor, x), expected)


@pytest.mark.parametrize("ran", [False, True], ids=["fresh", "ran"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_an_extractor_of_another_class_switches_still(training: bool, ran: bool) -> None:
    # Sharding and parametrization give a module a subclass of its own class.
    _, extractor, x = subject(training)
    expected = both_modes(copy.deepcopy(extractor), x)
    if ran:
        features(extractor, x)
    extractor.__class__ = type("Sharded", (type(extractor),), {})
    for _ in range(2):
        assert_bit_equal(both_modes(extractor, x), expected)


def test_the_average_of_an_extractor_follows_it() -> None:
    _, extractor, x = subject()
    average = AveragedModel(extractor, avg_fn=lambda _, new, __: new, use_buffers=True)
    with torch.no_grad():
        for parameter in extractor.parameters():
            parameter.add_(1)
    average.update_parameters(extractor)
    average.update_parameters(extractor)
    assert_same_extractor(average.module, extractor, x)


def test_a_file_is_read_where_the_model_and_its_source_are_not(tmp_path: Path) -> None:
    _, extractor, x = subject(training=False)
    torch.save({"extractor": extractor, "x": x, "expected": both_modes(extractor, x)[False]}, tmp_path / "file.pt")
    script = (
        "import sys, torch\n"
        "data = torch.load(sys.argv[1], weights_only=False)\n"
        "assert 'support' not in sys.modules\n"
        "found = data['extractor'](data['x'])\n"
        "assert not data['extractor'].training\n"
        "assert all(torch.equal(found[key], value) for key, value in data['expected'].items())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "file.pt")]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_thirty_thousand_nodes_are_copied_and_pickled() -> None:
    graph = fx.Graph()
    value = graph.placeholder("x")
    for _ in range(30_000):
        value = graph.call_function(torch.neg, (value,))
    graph.output(value)
    extractor = DualGraphModule(nn.Module(), graph, graph)
    for copied in (copy.deepcopy(extractor), pickled(extractor)):
        assert len(copied.train_graph.nodes) == 30_002
        assert torch.equal(copied(torch.ones(1)), torch.ones(1))
