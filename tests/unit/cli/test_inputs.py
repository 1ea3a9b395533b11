from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file


def test_an_image_is_resized_cropped_and_normalized(run):
    Image.new("RGB", (30, 20), (255, 0, 0)).save("red.png")
    report = json.loads(run("extract", "tiny_models:Tiny", "x", "--image", "red.png", "--size", "8", "--json"))
    red, green, blue = (1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225
    assert report["features"][0]["shape"] == [1, 3, 8, 8]
    assert math.isclose(report["features"][0]["mean"], (red + green + blue) / 3, rel_tol=1e-6)


def test_weights_of_torchvision_come_with_their_preprocessing(here, run, monkeypatch):
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    checkpoints = here / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(here))
    model = torchvision.models.squeezenet1_1().eval()
    torch.save(model.state_dict(), checkpoints / Path(weights.url).name)
    Image.radial_gradient("L").resize((300, 260)).save("photo.png")
    run(
        "extract",
        "squeezenet1_1",
        "features.3",
        "--weights",
        "DEFAULT",
        "--image",
        "photo.png",
        "--out",
        "f.safetensors",
    )
    image = weights.transforms()(Image.open("photo.png").convert("RGB")).unsqueeze(0)
    assert torch.equal(load_file("f.safetensors")["features.3"], model.features[:4](image))
