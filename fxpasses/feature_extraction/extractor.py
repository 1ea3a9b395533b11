"""The pipeline: capture, name, collapse, diff, prune, protect, and one module for both modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, overload

from torch import fx, nn

from fxpasses.capture.patching import without_collecting
from fxpasses.capture.tracing.losses import relevant_losses, warn_of_losses
from fxpasses.errors import ArgumentTypeError, CaptureError, ReturnNodesError
from fxpasses.feature_extraction.both_modes import (
    BothModes,
    CaptureOptions,
    capture_both,
    capture_mode,
    capture_one,
    names_of,
    warn_of_differences,
)
from fxpasses.feature_extraction.captures import Capture, Examples
from fxpasses.feature_extraction.dual_graph_module import DualGraphModule, common_root
from fxpasses.feature_extraction.guarded import GuardCutter, guarded
from fxpasses.feature_extraction.selection import (
    Pairs,
    ReturnNodes,
    Selection,
    check_selection,
    check_selection_of_mode,
    parse_selection,
)
from fxpasses.graph.analyses import shared_analyses
from fxpasses.graph.lazy_graph_module import with_own_graph
from fxpasses.graph.values import NamedValues
from fxpasses.manager import PassManager
from fxpasses.passes.name_nodes import NameStyle
from fxpasses.passes.protect_outputs import ProtectOutputs
from fxpasses.passes.prune_to_outputs import PruneToOutputs


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
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    capture: Capture = "auto",
    guards: Literal["check", "off"] = "check",
    mode: Literal["train", "eval"] | None = None,
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
        example_inputs: Positional arguments of the model, for models that decide on shapes; a single tensor stands for
            itself. They are not computed with. The extractor then has the arguments that the examples pass.
        example_kwargs: Such arguments by keyword.
        capture: `"symbolic"`, `"values"`, `"export"`, or an exported program of the model. `"auto"` is symbolic without
            examples; with them it is values, and export where that fails.
        guards: Whether each call checks that the model decides on its inputs as it did on the examples; the extractor's
            `guards` lists what is checked.
        mode: None for an extractor of both modes; `"train"` or `"eval"` for one of that mode alone, which raises a
            `ModeError` when it is switched to the other. For models that take other arguments in the other mode, such
            as detectors, whose training needs targets; and it saves a capture.

    Returns:
        A graph module in the mode of `model`, or in the one asked for. Its output is a dict with the keys in the order
        asked for.

    Raises:
        RequestError: The request contradicts itself or names what is not there; a `ValueError`.
        ArgumentTypeError: An argument of the wrong type; a `TypeError`.
        CaptureError: The model cannot be traced.

    Warns:
        ModeDifferenceWarning: What was asked for is computed differently in train and eval mode.
        FidelityWarning: Something that was asked for depends on what a graph cannot carry over from the model.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
        >>> extractor = create_feature_extractor(model, {"1": "hidden"})
        >>> {key: tuple(value.shape) for key, value in extractor(torch.ones(5, 2)).items()}
        {'hidden': (5, 3)}
    """
    selection = parse_selection(return_nodes, train_return_nodes, eval_return_nodes)
    _check_mode(mode, return_nodes)
    if guards not in ("check", "off"):
        raise ArgumentTypeError(f"guards={guards!r}: guards are 'check' or 'off'.")
    examples = Examples(example_inputs, example_kwargs)
    options = CaptureOptions(tracer_kwargs, concrete_args, leaf_modules, names, capture, examples)
    with without_collecting():
        captured = capture_both(model, options) if mode is None else capture_one(model, mode, options)
        cut = {True: GuardCutter(captured.train), False: GuardCutter(captured.eval)}
        _check_selection(selection, captured, lambda: _values_of_other_mode(model, mode, options), mode)
        diff = None if suppress_diff_warning else captured.diff
        train, eval_ = _extract(selection, captured)
        if diff:
            requested = {*names_of(train), *names_of(eval_)}
            warn_of_differences(diff.restricted_to(requested), "the requested values", stacklevel=2)
        warn_of_losses([loss for part in (train, eval_) for loss in relevant_losses(part, captured.losses)])
        root = common_root(train, eval_)
        root.training = model.training if mode is None else mode == "train"
        asked = selection.of_mode(mode)
        extractor = DualGraphModule(root, train.graph, eval_.graph, type(model).__name__, asked, mode)
    if guards == "off":
        return extractor
    return guarded(extractor, {True: cut[True].relevant_to(train.graph), False: cut[False].relevant_to(eval_.graph)})


def _check_mode(mode: str | None, return_nodes: ReturnNodes | None) -> None:
    if mode not in ("train", "eval", None):
        raise ArgumentTypeError(f"mode={mode!r}: the modes are 'train' and 'eval', and None for both in one extractor.")
    if mode is not None and return_nodes is None:
        raise ReturnNodesError(f"With mode={mode!r} there is one mode to return values in: name them by return_nodes.")


def _check_selection(
    selection: Selection,
    captured: BothModes,
    values_of_other_mode: Callable[[], NamedValues | None],
    mode: Literal["train", "eval"] | None,
) -> None:
    in_train = NamedValues(captured.train)
    if mode is not None:
        check_selection_of_mode(selection, mode, in_train, values_of_other_mode)
        return
    in_eval = in_train if captured.eval is captured.train else NamedValues(captured.eval)
    check_selection(selection, in_train, in_eval)


def _values_of_other_mode(model: nn.Module, mode: str | None, options: CaptureOptions) -> NamedValues | None:
    try:
        return NamedValues(capture_mode(model, mode == "eval", options))
    except CaptureError:
        return None


def _extract(selection: Selection, captured: BothModes) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Lets each mode's graph return what was asked for in that mode; one graph stays one if it can."""
    train, eval_ = captured.train, captured.eval
    if train is eval_ and selection.train != selection.eval:
        eval_ = with_own_graph(train)
    with shared_analyses():
        result = _pipeline(selection.train)(train).graph_module
        return result, result if eval_ is train else _pipeline(selection.eval)(eval_).graph_module


def _pipeline(pairs: Pairs) -> PassManager:
    # The graphs were captured here, for this one use: if a pass raises, nobody gets to see them.
    return PassManager([PruneToOutputs(dict(pairs)), ProtectOutputs()], undo=False)


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
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    capture: Capture = "auto",
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
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    capture: Capture = "auto",
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
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    capture: Capture = "auto",
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
        example_inputs: As for `create_feature_extractor`.
        example_kwargs: As for `create_feature_extractor`.
        capture: As for `create_feature_extractor`.

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
    examples = Examples(example_inputs, example_kwargs)
    options = CaptureOptions(tracer_kwargs, concrete_args, leaf_modules, names, capture, examples)
    if mode is None:
        with without_collecting():
            captured = capture_both(model, options)
        if not suppress_diff_warning:
            warn_of_differences(captured.diff, "the model", stacklevel=2)
        return names_of(captured.train), names_of(captured.eval)
    if mode not in ("train", "eval", "current"):
        raise ArgumentTypeError(
            f"mode={mode!r}: the modes are 'train', 'eval' and 'current', and None for train and eval."
        )
    with without_collecting():
        return names_of(capture_mode(model, None if mode == "current" else mode == "train", options))
