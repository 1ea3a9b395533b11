from __future__ import annotations

import argparse

import pytest
import torch
import torchvision

from fxpasses.cli.examples import DTYPES, ExampleInput, example_input
from fxpasses.cli.inputs import examples, usual_examples
from fxpasses.cli.models import find_model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", ExampleInput(None, ((7,),))),
        ("1,3,224,224", ExampleInput(None, ((1, 3, 224, 224),))),
        ("1,128:int64", ExampleInput(None, ((1, 128),), "int64")),
        ("mask=0,5:bool", ExampleInput("mask", ((0, 5),), "bool")),
        ("3,9,8+3,4,5", ExampleInput(None, ((3, 9, 8), (3, 4, 5)), is_list=True)),
        ("images=3,9,8+", ExampleInput("images", ((3, 9, 8),), is_list=True)),
    ],
)
def test_a_text_is_read(text, expected):
    assert example_input(text) == expected


@pytest.mark.parametrize("text", ["", ":int64", "1,", "1;2", "-1,2", "a b=1,2", "=1", "1,2:", "1,2:int65", "+", "²"])
def test_anything_else_is_a_mistake(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"no example input|is no dtype"):
        example_input(text)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_makes_a_tensor(dtype):
    call = examples([ExampleInput(None, ((2, 3),), dtype)], torch.nn.ReLU())
    assert (call.args[0].dtype, call.args[0].shape) == (getattr(torch, dtype), (2, 3))


def test_examples_are_where_the_model_is():
    call = examples([ExampleInput("x", ((2, 3),))], torch.nn.Linear(3, 3, device="meta"))
    assert call.kwargs["x"].device.type == "meta"


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("alexnet", [(1, 3, 224, 224)]),
        ("inception_v3", [(1, 3, 299, 299)]),
        ("r3d_18", [(1, 3, 16, 112, 112)]),
        ("raft_small", [(1, 3, 128, 128)] * 2),
    ],
)
def test_torchvisions_models_have_usual_examples(name, shapes):
    assert [tuple(each.shape) for each in usual_examples(name, torch.nn.ReLU()).args] == shapes


def test_detection_models_take_a_list_of_images():
    images = usual_examples("ssd300_vgg16", torch.nn.ReLU()).args[0]
    assert [tuple(image.shape) for image in images] == [(3, 320, 320)]


def test_every_model_of_torchvision_has_usual_examples():
    for name in torchvision.models.list_models():
        assert usual_examples(name, torch.nn.ReLU()).args, name


def test_a_model_from_elsewhere_has_none():
    assert usual_examples("torch.nn:ReLU", find_model("torch.nn:ReLU")).args == ()
