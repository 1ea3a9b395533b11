"""One model of the coverage benchmark: captures it and holds what comes out against the model itself."""

from __future__ import annotations

import copy
import inspect
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy
import torch
from coverage_models import Inputs, build, build_without_weights, candidates, working_inputs
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxpasses.capture.values.guards import GuardSet, guards_of
from fxpasses.errors import FxpassesError
from fxpasses.feature_extraction.captures import Examples, capture_by
from fxpasses.graph.values import NamedValues
from fxpasses.manager import PassManager
from fxpasses.passes.name_nodes import NameNodes, names_of
from fxpasses.passes.protect_outputs import ProtectOutputs
from fxpasses.passes.prune_to_outputs import PruneToOutputs

FEATURES = 10


def measure(library: str, name: str, captures: list[str]) -> dict[str, Any]:
    """Captures one model in each way and in both modes; peers are captures that need no run of the model."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if set(captures) <= set(PEERS):
        return _peers_alone(library, name, captures)
    model = build(library, name)
    make = working_inputs(library, name, copy.deepcopy(model))
    row: dict[str, Any] = {}
    for mode in ("eval", "train"):
        model.train(mode == "train")
        try:
            called = _called_modules(copy.deepcopy(model), make(2))  # some keep what they computed, for the next call
        except Exception as error:
            row[mode] = {"eager": _cause(error)}
            continue
        row[mode] = {
            capture: PEERS[capture](model) if capture in PEERS else _attempt(model, make, called, capture)
            for capture in captures
        }
        if library != "transformers":  # it takes none of them
            row[mode]["torchvision"] = _torchvision(model)
    return row


def reached(library: str, name: str, captures: list[str], instead: str) -> dict[str, Any]:
    """Captures one model without weights, and compares nothing; `instead` says why."""
    warnings.simplefilter("ignore")
    model = build_without_weights(library, name)
    modes = ("eval", "train")
    return {mode: {each: _reached(model, library, name, mode, each, instead) for each in captures} for mode in modes}


def _reached(model: nn.Module, library: str, name: str, mode: str, capture: str, instead: str) -> dict[str, Any]:
    failure: dict[str, Any] = {"cause": instead}
    for make in candidates(library, name, model):
        with torch.device(next(model.parameters()).device):
            inputs = make(2)
        began = time.perf_counter()
        try:
            found = capture_by(capture, model, mode == "train", Examples(inputs.args, inputs.kwargs))
        except FxpassesError as error:
            failure = {"cause": _cause(error)}
            continue
        seconds = round(time.perf_counter() - began, 3)
        return {"seconds": seconds, "nodes": len(found.graph.nodes), "output": [instead] * 2, "features": [instead] * 2}
    return failure


def _peers_alone(library: str, name: str, peers: list[str]) -> dict[str, Any]:
    model = build_without_weights(library, name)
    return {mode: {peer: PEERS[peer](model.train(mode == "train")) for peer in peers} for mode in ("eval", "train")}


def _torchvision(model: nn.Module) -> dict[str, Any]:
    from torchvision.models.feature_extraction import get_graph_node_names

    return _peer(model, lambda: get_graph_node_names(model, suppress_diff_warning=True))


def _timm(model: nn.Module) -> dict[str, Any]:
    from timm.layers import get_graph_node_names

    return _peer(model, lambda: get_graph_node_names(model))


def _peer(model: nn.Module, names: Callable[[], tuple[list[str], list[str]]]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        train, evaluation = names()
    except Exception as error:
        return {"cause": _cause(error)}
    found = train if model.training else evaluation
    arguments = list(inspect.signature(model.forward).parameters)
    return {
        "names": [name for name in found if name not in arguments],
        "nodes": len(found),
        "seconds": round(time.perf_counter() - began, 3),
    }


PEERS: dict[str, Callable[[nn.Module], dict[str, Any]]] = {"peer-torchvision": _torchvision, "peer-timm": _timm}
"""Other extractors, by the name that stands for them among the captures."""


def _attempt(model: nn.Module, make: Callable[[int], Inputs], called: list[str], capture: str) -> dict[str, Any]:
    examples = make(2)
    began = time.perf_counter()
    try:
        graph_module = capture_by(capture, model, None, Examples(examples.args, examples.kwargs))
    except Exception as error:
        return {"cause": _cause(error)}
    seconds = time.perf_counter() - began
    style_names = list(names_of(graph_module, "torchvision").values())
    named = NameNodes()(graph_module).graph_module
    values = NamedValues(named)
    nameable = [path for path in called if path in values]
    found: dict[str, Any] = {
        "seconds": round(seconds, 3),
        "nodes": len(named.graph.nodes),
        "nameable": round(len(nameable) / max(len(called), 1), 4),
        "names": style_names,
    }
    guards = guards_of(graph_module)

    def run(call: Callable[..., Any], inputs: Inputs) -> Any:
        if call is named and guards is not None:
            guards.check(inputs.args, inputs.kwargs)
        return call(*inputs.args, **inputs.kwargs)

    found["output"] = _compared(model, named, make, run)
    found["features"] = _features(model, named, make, nameable, guards)
    return found


def _features(
    model: nn.Module,
    named: fx.GraphModule,
    make: Callable[[int], Inputs],
    nameable: list[str],
    guards: GuardSet | None,
) -> Any:
    wanted = _spread([path for path in nameable if path])
    values = NamedValues(named)
    chosen = [path for path in wanted if _can_be_asked(values, path)]
    try:
        extractor = PassManager([PruneToOutputs({path: path for path in chosen}), ProtectOutputs()])(named).graph_module
    except Exception as error:
        return _cause(error)

    def run(call: Callable[..., Any], inputs: Inputs) -> Any:
        if call is extractor:
            if guards is not None:
                guards.check(inputs.args, inputs.kwargs)
            return extractor(*inputs.args, **inputs.kwargs)
        return _eager_features(model, chosen, inputs)

    return _compared(model, extractor, make, run)


def _can_be_asked(values: NamedValues, path: str) -> bool:
    try:
        values.value(path)
    except Exception:
        return False
    return True


def _eager_features(model: nn.Module, paths: list[str], inputs: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    handles = []
    for path in paths:

        def keep(_: nn.Module, __: Any, output: Any, path: str = path) -> None:
            found.setdefault(path, pytree.tree_map_only(torch.Tensor, torch.clone, output))

        handles.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return {path: found.get(path) for path in paths}


def _compared(
    model: nn.Module, call: Callable[..., Any], make: Callable[[int], Inputs], run: Callable[..., Any]
) -> Any:
    """Compares model and graph at the captured batch size and at another one."""
    outcome = []
    for batch in (2, 3):
        torch.manual_seed(batch)
        inputs = make(batch)
        state = copy.deepcopy(model.state_dict())
        try:
            results = []
            for each in (model, call):
                torch.manual_seed(7)
                numpy.random.seed(7)  # models of transformers draw from it
                with torch.no_grad():
                    results.append(run(each, _copied(inputs)))
                model.load_state_dict(state)
            outcome.append("equal" if _equal(*results) else "differs")
        except Exception as error:
            outcome.append(_cause(error))
            model.load_state_dict(state)
    return outcome


def _copied(inputs: Inputs) -> Inputs:
    return Inputs(*pytree.tree_map_only(torch.Tensor, torch.clone, tuple(inputs)))


def _equal(one: Any, other: Any) -> bool:
    ours, theirs = (
        [leaf for leaf in pytree.tree_leaves(each) if isinstance(leaf, torch.Tensor)] for each in (one, other)
    )
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
        for a, b in zip(ours, theirs, strict=True)
    )


def _called_modules(model: nn.Module, inputs: Inputs) -> list[str]:
    called: dict[str, None] = {}
    handles = [
        module.register_forward_hook(lambda _, __, ___, path=path: called.setdefault(path))
        for path, module in model.named_modules()
        if path
    ]
    try:
        with torch.no_grad():
            model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return list(called)


def _spread(paths: list[str]) -> list[str]:
    step = max(len(paths) / FEATURES, 1)
    return [paths[int(index * step)] for index in range(min(FEATURES, len(paths)))]


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {' | '.join(lines[:2])}"
    return re.sub(r"/[^\"\s]*/site-packages/", "", text)[:800]
