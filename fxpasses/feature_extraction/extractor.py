"""The pipeline: capture, name, collapse, diff, prune, protect, and one module for both modes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, overload

from torch import fx, nn

from fxpasses.capture.leaves import checked_leaf_classes
from fxpasses.capture.symbolic import capture_symbolic, require_module
from fxpasses.errors import ArgumentTypeError, ModeDifferenceWarning, UnknownLeafError
from fxpasses.feature_extraction.dual_graph_module import DualGraphModule, common_root
from fxpasses.feature_extraction.selection import ReturnNodes, check_selection, parse_selection
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.values import NamedValues
from fxpasses.manager import PassManager
from fxpasses.passes.diff_modes import DiffModes, ModeDiff
from fxpasses.passes.name_nodes import NameNodes, NameStyle
from fxpasses.passes.prune_to_outputs import PruneToOutputs


class _Captured(NamedTuple):
    """The named graphs of both modes, and how they differ."""

    train: fx.GraphModule
    eval: fx.GraphModule
    diff: ModeDiff


def create_feature_extractor(
    model: nn.Module,
    return_nodes: ReturnNodes | None = None,
    train_return_nodes: ReturnNodes | None = None,
    eval_return_nodes: ReturnNodes | None = None,
    tracer_kwargs: Mapping[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: Mapping[str, Any] | None = None,
    *,
    leaf_modules: Iterable[type[nn.Module]] = (),
    names: NameStyle = "exact",
) -> DualGraphModule:
    """Makes a module that computes intermediate values of `model` and nothing else.

    The parameters are the model's own, and the model is left as it was. A value is what the model computed at that
    moment: an operation that later writes into it does not change what is returned.

    Args:
        model: The model; it is traced, not run.
        return_nodes: What to return in both modes: names, or a mapping from names to output keys. A name is one of
            `get_graph_node_names(model)`, or the path of any module, which means what the module returned.
        train_return_nodes: The same for training mode alone; goes together with `eval_return_nodes`.
        eval_return_nodes: The same for evaluation mode alone.
        tracer_kwargs: `leaf_modules`, `autowrap_modules`, `autowrap_functions` and `param_shapes_constant`.
        suppress_diff_warning: Whether to keep silent about differences between the modes.
        concrete_args: Values for arguments of the model's forward that are to be constants.
        leaf_modules: Classes of modules that become one node each, so that nothing inside them is traced.
        names: `"exact"`, or `"torchvision"` for the names that torchvision gives, with their faults.

    Returns:
        A graph module in the mode of `model`. Its output is a dict with the keys in the order asked for.

    Raises:
        RequestError: The request contradicts itself or names what is not there; a `ValueError`.
        ArgumentTypeError: An argument of the wrong type; a `TypeError`.
        CaptureError: The model cannot be traced; a `ValueError`.

    Warns:
        ModeDifferenceWarning: What was asked for is computed differently in train and eval mode.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
        >>> extractor = create_feature_extractor(model, {"1": "hidden"})
        >>> {key: tuple(value.shape) for key, value in extractor(torch.ones(5, 2)).items()}
        {'hidden': (5, 3)}
    """
    selection = parse_selection(return_nodes, train_return_nodes, eval_return_nodes)
    captured = _capture_both(model, tracer_kwargs, concrete_args, leaf_modules, names)
    check_selection(selection, NamedValues(captured.train), NamedValues(captured.eval))
    train = PassManager([PruneToOutputs(dict(selection.train))])(captured.train).graph_module
    eval_ = PassManager([PruneToOutputs(dict(selection.eval))])(captured.eval).graph_module
    if not suppress_diff_warning:
        _warn_of_differences(captured.diff, "the requested values", {*_names(train), *_names(eval_)})
    root = common_root(train, eval_)
    root.training = model.training
    return DualGraphModule(root, train.graph, eval_.graph, type(model).__name__)


@overload
def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: Mapping[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: Mapping[str, Any] | None = None,
    *,
    mode: None = None,
    leaf_modules: Iterable[type[nn.Module]] = (),
    names: NameStyle = "exact",
) -> tuple[list[str], list[str]]: ...


@overload
def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: Mapping[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: Mapping[str, Any] | None = None,
    *,
    mode: Literal["train", "eval", "current"],
    leaf_modules: Iterable[type[nn.Module]] = (),
    names: NameStyle = "exact",
) -> list[str]: ...


def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: Mapping[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: Mapping[str, Any] | None = None,
    *,
    mode: Literal["train", "eval", "current"] | None = None,
    leaf_modules: Iterable[type[nn.Module]] = (),
    names: NameStyle = "exact",
) -> tuple[list[str], list[str]] | list[str]:
    """Returns the names of all nodes of `model` in order of execution.

    Args:
        model: The model; it is traced, not run.
        tracer_kwargs: As for `create_feature_extractor`.
        suppress_diff_warning: Whether to keep silent about differences between the modes.
        concrete_args: As for `create_feature_extractor`.
        mode: None for the lists of both modes; `"train"`, `"eval"`, or `"current"` (each submodule's mode as it is) for one.
        leaf_modules: As for `create_feature_extractor`.
        names: As for `create_feature_extractor`.

    Returns:
        The pair `(train_names, eval_names)`, or the one list that `mode` asks for.

    Raises:
        ArgumentTypeError: An argument of the wrong type, or an unknown mode.
        CaptureError: The model cannot be traced; a `ValueError`.

    Warns:
        ModeDifferenceWarning: The modes compute different graphs, and both lists were asked for.

    Example:
        >>> get_graph_node_names(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), mode="eval")
        ['input', '0', '1']
    """
    if mode is None:
        captured = _capture_both(model, tracer_kwargs, concrete_args, leaf_modules, names)
        if not suppress_diff_warning:
            _warn_of_differences(captured.diff, "the model")
        return _names(captured.train), _names(captured.eval)
    if mode not in ("train", "eval", "current"):
        raise ArgumentTypeError(
            f"mode={mode!r}: the modes are 'train', 'eval' and 'current', and None for train and eval."
        )
    training = None if mode == "current" else mode == "train"
    return _names(_capture_one(model, training, tracer_kwargs, concrete_args, leaf_modules, names))


def _capture_both(
    model: nn.Module,
    tracer_kwargs: Mapping[str, Any] | None,
    concrete_args: Mapping[str, Any] | None,
    leaf_modules: Iterable[type[nn.Module]],
    names: NameStyle,
) -> _Captured:
    leaves = tuple(leaf_modules) if not isinstance(leaf_modules, type) else leaf_modules
    train = _capture_one(model, True, tracer_kwargs, concrete_args, leaves, names)
    eval_ = _capture_one(model, False, tracer_kwargs, concrete_args, leaves, names)
    return _Captured(train, eval_, DiffModes(eval_).call(train).diff)


def _capture_one(
    model: nn.Module,
    training: bool | None,
    tracer_kwargs: Mapping[str, Any] | None,
    concrete_args: Mapping[str, Any] | None,
    leaf_modules: Any,
    names: NameStyle,
) -> fx.GraphModule:
    require_module(model)
    leaves = _present_leaves(model, checked_leaf_classes(leaf_modules))
    options = dict(tracer_kwargs or {})
    options["leaf_modules"] = (*leaves, *options.get("leaf_modules", ()))
    captured = capture_symbolic(model, training=training, tracer_options=options, concrete_args=concrete_args)
    return PassManager([NameNodes(names)])(captured).graph_module


def _present_leaves(model: nn.Module, leaf_modules: tuple[type[nn.Module], ...]) -> tuple[type[nn.Module], ...]:
    """Raises `UnknownLeafError` for a class of `leaf_modules` that no module of the model belongs to."""
    kinds = {type(module) for module in model.modules()}
    for leaf in leaf_modules:
        if not any(issubclass(kind, leaf) for kind in kinds):
            own = sorted(kind.__name__ for kind in kinds if not kind.__module__.startswith("torch.nn"))
            raise UnknownLeafError(
                f"leaf_modules: {type(model).__name__} has no module of class {leaf.__name__}. Its own classes: {', '.join(own)}."
            )
    return leaf_modules


def _names(graph_module: fx.GraphModule) -> list[str]:
    names = (qualified_name(node) for node in graph_module.graph.nodes if node.op != "output")
    return [name for name in names if name is not None]


def _warn_of_differences(diff: ModeDiff, subject: str, requested: set[str] | None = None) -> None:
    relevant = diff if requested is None else diff.restricted_to(requested)
    if not relevant:
        return
    shown = "\n".join(f"  {change}" for change in relevant.changes[:10])
    more = len(relevant.changes) - 10
    warnings.warn(
        f"Train and eval mode compute {subject} differently:\n{shown}\n"
        + (f"  and {more} more\n" if more > 0 else "")
        + "Ask for the values of each mode by train_return_nodes and eval_return_nodes, or set suppress_diff_warning=True.",
        ModeDifferenceWarning,
        stacklevel=3,
    )
