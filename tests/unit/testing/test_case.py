from __future__ import annotations

import copy
import inspect
import pickle

import torch

from fxpasses.testing import Case
from fxpasses.testing.models.sample import sample_case

SOURCE = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x, *, scale):
        return self.linear(x) * scale


torch.manual_seed(0)
module = Model().train()
args = (torch.ones(1, 2),)
kwargs = {'scale': 2.0}
"""


def test_a_case_is_what_its_script_defines() -> None:
    case = Case(SOURCE)
    assert type(case.module).__name__ == "Model"
    assert case.training
    assert case.kwargs == {"scale": 2.0}
    assert case.module is case.module
    assert case.module(*case.args, **case.kwargs).shape == (1, 2)


def test_a_build_shares_classes_and_nothing_else_and_is_the_same_each_time() -> None:
    case = Case(SOURCE)
    first, second = case.build(), case.build()
    assert type(first.module) is type(second.module)
    assert first.module is not second.module
    assert torch.equal(first.module.linear.weight, second.module.linear.weight)
    assert first.args[0].data_ptr() != second.args[0].data_ptr()


def test_building_leaves_the_random_generator_alone() -> None:
    before = torch.get_rng_state()
    Case(SOURCE).build()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_repr_makes_the_case_again() -> None:
    case = Case(SOURCE, features=frozenset({"linear"}))
    assert eval(repr(case)) == case
    assert hash(eval(repr(case))) == hash(case)
    assert repr(case).startswith("Case('''\nimport torch")
    assert Case(SOURCE) != Case(SOURCE.replace("2.0", "3.0"))


def test_a_script_with_quotes_or_backslashes_has_a_repr_too() -> None:
    for odd in ("# '''", "# \\n"):
        case = Case(f"{SOURCE}\n{odd}")
        assert eval(repr(case)) == case


def test_the_script_runs_by_itself() -> None:
    namespace: dict[str, object] = {}
    exec(sample_case(3).source, namespace)
    assert {"module", "args", "kwargs"} <= namespace.keys()


def test_the_classes_of_a_case_have_their_source_and_can_be_pickled() -> None:
    module = Case(SOURCE).module
    assert "self.linear(x) * scale" in inspect.getsource(type(module))
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(copied.linear.weight, module.linear.weight)


def test_a_class_may_come_after_what_it_needs() -> None:
    script = "import torch\nwidth = 3\nclass Model(torch.nn.ReLU):\n    width = width\nmodule, args, kwargs = Model(), (), {}"
    case = Case(script)
    assert case.build().module.width == 3
    assert type(pickle.loads(pickle.dumps(case.build().module))).__name__ == "Model"
