from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from fxpasses.cli import main
from fxpasses.cli.models import find_leaf_modules, find_model


def test_a_leaf_is_found_by_its_bare_and_its_full_name(run):
    expected = ["x", "conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1"]
    for leaf in ("BasicBlock", "torchvision.models.resnet.BasicBlock"):
        assert run("names", "resnet18", "--leaf", leaf).split()[:7] == expected


def test_several_leaves(run):
    names = run("names", "resnet18", "--leaf", "BasicBlock", "--leaf", "Sequential").split()
    assert names[4:9] == ["maxpool", "layer1", "layer2", "layer3", "layer4"]


def test_two_classes_of_one_bare_name_are_both_leaves():
    first, second = (type("Block", (nn.Module,), {"__module__": name}) for name in ("a", "b"))
    assert set(find_leaf_modules(nn.Sequential(first(), second()), ["Block"])) == {first, second}


def test_weights_from_a_file(run, fail):
    model = find_model("tiny_models:Tiny")
    nn.init.constant_(model.conv.weight, 0.0)
    nn.init.constant_(model.conv.bias, 5.0)
    save_file(model.state_dict(), "tiny.safetensors")
    arguments = ("extract", "tiny_models:Tiny", "conv", "--size", "8", "--weights")
    feature = json.loads(run(*arguments, "tiny.safetensors", "--json"))["features"][0]
    assert (feature["mean"], feature["std"]) == (5.0, 0.0)
    assert "Pickles are not loaded" in fail(*arguments, "tiny.pth")
    assert "absent.safetensors" in fail(*arguments, "absent.safetensors")
    save_file({"other": torch.ones(1)}, "other.safetensors")
    assert "conv.weight" in fail(*arguments, "other.safetensors")
    Path("broken.safetensors").write_bytes(b"\0" * 20)
    assert "broken.safetensors" in fail(*arguments, "broken.safetensors")


def test_a_checkpoint_that_holds_code_is_not_loaded(here, monkeypatch):
    checkpoints = here / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(here))
    file = checkpoints / Path(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url).name
    torch.save({"model": nn.Linear(1, 1)}, file)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        main(["extract", "squeezenet1_1", "features", "--weights", "DEFAULT"])


def test_a_mistake_inside_the_users_code_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="the factory's own mistake"):
        main(["names", "tiny_models:broken"])
