from __future__ import annotations

import pytest
from support import examples

from fxpasses.capture import capture_symbolic
from fxpasses.passes.name_nodes import NameNodes

_MODELS = {
    "residual": examples.Stacked,
    "called_twice": examples.CalledTwice,
    "aliased": examples.Aliased,
    "odd_names": examples.OddNames,
}


@pytest.mark.parametrize("model", _MODELS)
def test_names(model: str, golden) -> None:
    golden(NameNodes()(capture_symbolic(_MODELS[model]())).graph_module.graph, model)


def test_names_in_torchvisions_style(golden) -> None:
    golden(NameNodes("torchvision")(capture_symbolic(examples.OddNames())).graph_module.graph, "odd_names_torchvision")
