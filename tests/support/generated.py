"""Generated models, prepared for a law: freshly built in their mode, captured and named, and run once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import fx, nn

from fxpasses.feature_extraction import DualGraphModule, create_feature_extractor
from fxpasses.feature_extraction.captures import CaptureName, Examples, capture_by
from fxpasses.graph.meta import qualified_name
from fxpasses.manager.blaming.copies import copied
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing import Case
from fxpasses.testing.strategies import ALL, cases
from support.oracle import ValuesAtBirth

RANDOM = frozenset({"random", "dropout_module", "dropout_function"})
DETERMINISTIC = ALL - RANDOM
"""Where nothing is drawn, what runs beside a value cannot shift the numbers that it draws."""

small_cases = cases(max_nodes=14)
deterministic_cases = cases(max_nodes=14, features=DETERMINISTIC)


class Prepared(NamedTuple):
    """A model in the case's mode, with inputs of its own."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, case: Case) -> Prepared:
        """Builds the case anew; every submodule gets the mode, as the extractor gives it."""
        built = case.build()
        built.module.train(case.training)
        return cls(*built)

    def with_own_inputs(self) -> Prepared:
        """Returns the same model, with copies of the inputs, which a run may write into."""
        return Prepared(self.module, *copy.deepcopy((self.args, self.kwargs)))

    def run(self, function: Any) -> Any:
        """Calls `function` with the inputs and the same random numbers each time."""
        torch.default_generator.manual_seed(0)
        return function(*self.args, **self.kwargs)

    def captured(self, case: Case, capture: CaptureName = "symbolic") -> fx.GraphModule:
        """Captures the module in the case's mode, with the inputs as examples for a capture that needs some."""
        return capture_by(capture, self.module, case.training, Examples(self.args, self.kwargs))


@lru_cache(maxsize=1)  # capturing takes longer than all the rest of most laws
def named_capture(case: Case, capture: CaptureName = "symbolic") -> fx.GraphModule:
    """Returns the named graph of the case, in its mode, to look at: all laws of an example get the same one."""
    return captured_anew(case, capture)


def own_capture(case: Case) -> fx.GraphModule:
    """Returns a copy of the named graph of the case, to change and to run."""
    return copied(named_capture(case))


def captured_anew(case: Case, capture: CaptureName = "symbolic") -> fx.GraphModule:
    """Returns the named graph of a fresh build of the case, in its mode."""
    return NameNodes()(Prepared.of(case).captured(case, capture)).graph_module


def names(graph_module: fx.GraphModule) -> list[str]:
    """Returns the names of all nodes but the output, in order."""
    found = [qualified_name(node) for node in graph_module.graph.nodes if node.op != "output"]
    assert None not in found
    return [name for name in found if name is not None]


@lru_cache(maxsize=1)  # laws that look at one example together compare with the same values
def values_at_birth(case: Case, capture: CaptureName = "symbolic") -> Mapping[str, Any]:
    """Runs the unpruned graph node by node; returns the value of each name, cloned when it was made."""
    prepared = Prepared.of(case)
    captured = copied(named_capture(case, capture))
    interpreter = ValuesAtBirth(captured)
    bound = inspect.signature(prepared.module.forward).bind(*prepared.args, **prepared.kwargs)
    bound.apply_defaults()
    torch.default_generator.manual_seed(0)
    interpreter.run(*(bound.arguments[str(node.target)] for node in captured.graph.find_nodes(op="placeholder")))
    values = {qualified_name(node) or "": interpreter.values[node.name] for node in captured.graph.nodes}
    return MappingProxyType(values)


def extractor(
    case: Case, module: nn.Module, wanted: list[str], capture: CaptureName = "symbolic", *, both_modes: bool = False
) -> DualGraphModule:
    """Makes an extractor of `wanted` in the case's mode, and of some value in the other mode.

    An export is slow: by one, the other mode is there only if `both_modes` asks for it.
    """
    options: dict[str, Any] = {"suppress_diff_warning": True, "capture": capture}
    if capture != "symbolic":
        built = case.build()
        options.update(example_inputs=built.args, example_kwargs=built.kwargs)
    if capture == "export" and not both_modes:
        return create_feature_extractor(module, wanted, mode="train" if case.training else "eval", **options)
    other = [next(name for name in inspect.signature(module.forward).parameters)]
    train, eval_ = (wanted, other) if case.training else (other, wanted)
    return create_feature_extractor(module, train_return_nodes=train, eval_return_nodes=eval_, **options)


def some_of(data: st.DataObject, values: list[str], **limits: Any) -> list[str]:
    """Draws some of the values, in any order."""
    return data.draw(st.lists(st.sampled_from(values), unique=True, **limits))
