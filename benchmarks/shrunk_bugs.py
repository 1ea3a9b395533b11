"""Bugs of torchvision's extractor as properties of generated models, and what hypothesis shrinks their failures to."""

from __future__ import annotations

import copy
import re
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from hypothesis import HealthCheck, Phase, given, settings
from torch import fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from fxpasses import testing as fxt
from fxpasses.graph.bits import cloned, first_difference
from fxpasses.testing import strategies as fxst

EXAMPLES = 2000
"""How many models are looked at: names that meet as B20 needs them to are rare, one model of several hundred."""


class Shrunk(NamedTuple):
    """The smallest failure: its nodes, the model that failed first, and what shrinking it took."""

    nodes: int
    first: int
    calls: int
    seconds: float
    source: str


class WrongError(AssertionError):
    """The extractor is wrong in the way that is looked for."""


def _leaves(case: fxt.Case) -> dict[str, list[Any]]:
    """What each leaf module returned at each call, copied when it was returned."""
    built = case.build()
    found: dict[str, list[Any]] = {}
    for path, child in built.module.named_modules():
        if path and not list(child.children()):
            child.register_forward_hook(lambda _m, _a, out, path=path: found.setdefault(path, []).append(cloned(out)))
    torch.default_generator.manual_seed(0)
    built.module(*built.args, **built.kwargs)
    return found


def _features(case: fxt.Case, names: list[str]) -> dict[str, Any]:
    built = case.build()
    extractor = create_feature_extractor(built.module, names).train(case.training)
    torch.default_generator.manual_seed(0)
    return extractor(*built.args, **built.kwargs)


def _names(case: fxt.Case) -> list[str]:
    return get_graph_node_names(case.build().module)[0 if case.training else 1]


def _wrong_together(case: fxt.Case) -> tuple[str, Any] | None:
    """The first leaf that, with all others asked for too, is not what the module returned; and what it returned."""
    returned = {name: found[0] for name, found in _leaves(case).items() if len(found) == 1}
    names = [name for name in _names(case) if isinstance(returned.get(name), torch.Tensor)]
    features = _features(case, names) if names else {}
    wrong = [name for name in names if first_difference(features[name], returned[name]) is not None]
    return (wrong[0], returned[wrong[0]]) if wrong else None


def later_write(case: fxt.Case) -> None:
    """B1: an in-place operation overwrites an extracted feature: alone it is right."""
    found = _wrong_together(case)
    if found is not None and first_difference(_features(case, [found[0]])[found[0]], found[1]) is None:
        raise WrongError(found[0])


def lost_write(case: fxt.Case) -> None:
    """B2: a write whose result nobody uses is dead code to torchvision: the feature is wrong alone, too."""
    if all(node.users or node.op == "output" for node in _trace(case).graph.nodes):
        return
    found = _wrong_together(case)
    if found is not None and first_difference(_features(case, [found[0]])[found[0]], found[1]) is not None:
        raise WrongError(found[0])


def cut_name(case: fxt.Case) -> None:
    """B3: the number at the end of a user's name is cut off."""
    names, returned = _names(case), _leaves(case)
    for path in returned:
        if path not in names and path.rstrip("0123456789") != path and path.rstrip("0123456789").endswith("_"):
            raise WrongError(path)


def overlap(case: fxt.Case) -> None:
    """B4: of a block and a value in it, one key gets lost."""
    names = _names(case)
    blocks = [path for path, child in case.module.named_modules() if path and list(child.children())]
    for block in blocks:
        inside = [name for name in names if name.startswith(f"{block}.")]
        if inside and len(_features(case, [block, inside[-1]])) < 2:
            raise WrongError(block)


def mode_of_a_copy(case: fxt.Case) -> None:
    """B10: a deep copy of an eval extractor comes back in train mode."""
    extractor = create_feature_extractor(case.build().module, _names(case)[-1:]).eval()
    if copy.deepcopy(extractor).training:
        raise WrongError


def augmented(case: fxt.Case) -> None:
    """B13: `h += 1` is traced as an addition that makes a new tensor."""
    built, twin = case.build(), case.build()
    torch.default_generator.manual_seed(0)
    expected = built.module(*built.args, **built.kwargs)
    torch.default_generator.manual_seed(0)
    if first_difference(fx.symbolic_trace(twin.module)(*twin.args, **twin.kwargs), expected) is not None:
        raise WrongError


def constants_left(case: fxt.Case) -> None:
    """B17: each trace leaves its constants on the user's model."""
    module = case.build().module
    before = set(vars(module)) | set(module._buffers)
    get_graph_node_names(module)
    if {name for name in {*vars(module), *module._buffers} - before if name.startswith("_tensor_constant")}:
        raise WrongError


def called_again(case: fxt.Case) -> None:
    """B20: of a module that is called again, the name contains its own number: `1` in `1_1`."""
    if "''" in _naming_error(case):
        raise WrongError


def read_as_a_pattern(case: fxt.Case) -> None:
    """B20: a dot in a name is taken for any character: the child `b` of `a` for the module `a_b`."""
    if re.search("int.* base 10: '.+'", _naming_error(case)):
        raise WrongError


def _naming_error(case: fxt.Case) -> str:
    module: nn.Module = case.build().module
    try:
        get_graph_node_names(module)
    except ValueError as error:
        return str(error)
    return ""


def _trace(case: fxt.Case) -> fx.GraphModule:
    return fx.symbolic_trace(case.build().module)


PLAIN = fxst.cases()
DETERMINISTIC = fxst.cases(features=fxst.ALL - {"random", "dropout_module", "dropout_function"})
BUGS: dict[str, tuple[Callable[[fxt.Case], None], Any]] = {
    "B1 a later write": (later_write, DETERMINISTIC),
    "B2 a lost write": (lost_write, DETERMINISTIC),
    "B3 a cut name": (cut_name, PLAIN),
    "B4 overlapping names": (overlap, PLAIN),
    "B10 the mode of a copy": (mode_of_a_copy, PLAIN),
    "B13 an augmented assignment": (
        augmented,
        fxst.cases(features={"augmented_assignment", "identity", "activations"}),
    ),
    "B17 constants on the model": (constants_left, fxst.cases(features=fxst.ALL | {"trace_time_random"})),
    "B20 a module called again": (called_again, PLAIN),
    "B20 a name that is a pattern": (read_as_a_pattern, PLAIN),
}


def shrink(bug: tuple[Callable[[fxt.Case], None], Any]) -> Shrunk | None:
    """Looks for a model with the bug, and lets hypothesis shrink it."""
    check, strategy = bug
    calls, first, began, smallest = 0, 0, 0.0, None

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(strategy)
    def run(case: fxt.Case) -> None:
        nonlocal calls, first, began, smallest
        calls += 1
        try:
            _quietly(check, case)
        except WrongError:
            if not first:
                first, began = calls, time.process_time()
            smallest = case
            raise

    with suppress(WrongError):
        run()
    if smallest is None:
        return None
    nodes = sum(node.op.startswith("call") for node in _trace(smallest).graph.nodes)
    return Shrunk(nodes, first, calls - first, time.process_time() - began, smallest.source)


def _quietly(check: Callable[[fxt.Case], None], case: fxt.Case) -> None:
    """Runs a check; whatever else torchvision stumbles over is not the bug that is looked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check(case)
        except WrongError:
            raise
        except Exception:
            return
