from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import examples
from support.golden import assert_golden
from torch import nn

from fxpasses.capture import capture_symbolic
from fxpasses.passes.diff_modes import DiffModes
from fxpasses.passes.name_nodes import NameNodes

_MODELS: dict[str, Callable[[], nn.Module]] = {"two_modes": examples.TwoModes, "one_mode": examples.Stacked}


@pytest.mark.parametrize("model", _MODELS)
def test_the_difference_as_text(model: str, request: pytest.FixtureRequest) -> None:
    made = _MODELS[model]()
    train, eval_ = (NameNodes()(capture_symbolic(made, training=mode)).graph_module for mode in (True, False))
    text = f"{DiffModes(eval_)(train).diff}\n"
    assert_golden(Path(__file__).parent / f"{model}.txt", text, request.config.getoption("--update-golden"))
