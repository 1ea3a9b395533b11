"""The features of torchvision's models are, bit for bit, what forward hooks see in the model itself.

Asked for together: ten modules drawn at random, and every module at the top level. In train mode too: the same random
numbers are drawn, because nothing before the last of those modules is left out.
"""

from __future__ import annotations

import gc
import inspect
import random

import pytest
import torch
from support.oracle import Calls, assert_bit_equal
from support.zoo import TRACEABLE, build, inputs, models, parameters
from torch import nn
from torch.utils import _pytree as pytree

from fxpasses import create_feature_extractor, get_graph_node_names

pytestmark = [
    pytest.mark.filterwarnings("ignore::fxpasses.errors.FidelityWarning"),
    pytest.mark.filterwarnings("ignore:.*meshgrid.*:UserWarning"),
]

_QUICK = ("densenet121", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "squeezenet1_1", "swin_t", "vit_b_32")
_LARGEST = 100_000_000
_MODELS = [
    name for name in TRACEABLE if not name.startswith(("vit_h", "vit_l", "regnet_y_128", "regnet_y_32", "regnet_x_32"))
]


def _wanted(model: nn.Module, training: bool, calls: Calls) -> list[str]:
    """Chooses ten of the called modules, those inside of leaves aside, and adds those at the top level."""
    names = get_graph_node_names(model, mode="train" if training else "eval")
    known = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    with_tensors = [
        path
        for path, values in calls.returned.items()
        if path in known and any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(values[0]))
    ]
    chosen = random.Random(0).sample(with_tensors, min(10, len(with_tensors)))
    return list(dict.fromkeys([*chosen, *(path for path in with_tensors if "." not in path)]))


def _without_state(model: nn.Module) -> nn.Module:
    """Takes the running statistics out of the way: a second run would see those that the first one left."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    return model


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", models(_MODELS, _QUICK))
def test_features_are_what_hooks_see(name: str, training: bool) -> None:
    if parameters(name) >= _LARGEST:
        pytest.skip("100 M parameters or more")
    model = _without_state(build(name)).train(training)
    x = inputs(name)
    with torch.no_grad():
        torch.manual_seed(1)
        calls = Calls(model, x.clone())
        wanted = _wanted(model, training, calls)
        other = [next(iter(inspect.signature(model.forward).parameters))]
        train, eval_ = (wanted, other) if training else (other, wanted)
        extractor = create_feature_extractor(
            model, train_return_nodes=train, eval_return_nodes=eval_, suppress_diff_warning=True
        )
        torch.manual_seed(1)
        features = extractor(x.clone())
    assert list(features) == wanted
    for path in wanted:
        assert_bit_equal(features[path], calls.returned[path][0], path)
    del model, extractor, features, calls
    gc.collect()
