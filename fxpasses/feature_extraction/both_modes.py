"""The named graphs of a model in both modes, and the warnings about them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from torch import fx, nn

from fxpasses.capture.leaves import checked_leaf_classes
from fxpasses.capture.symbolic import require_module
from fxpasses.errors import CaptureError, ModeDifferenceWarning, UnknownLeafError
from fxpasses.feature_extraction.captures import Capture, Examples, capture_by, captures_to_try, first_working
from fxpasses.graph.calls import Loss
from fxpasses.graph.meta import capture_record, qualified_name
from fxpasses.passes.diff_modes import DiffModes, ModeDiff
from fxpasses.passes.name_nodes import NameNodes, NameStyle

Captured = TypeVar("Captured")


@dataclass(frozen=True)
class CaptureOptions:
    """How a model is captured and named; see `create_feature_extractor` for each option."""

    tracer_kwargs: Mapping[str, Any] | None = None
    concrete_args: Mapping[str, Any] | None = None
    leaf_modules: Iterable[type[nn.Module]] = ()
    names: NameStyle = "exact"
    capture: Capture = "auto"
    examples: Examples = field(default_factory=Examples)


class BothModes(NamedTuple):
    """The named graphs of a model.

    Attributes:
        train: The graph of training mode.
        eval: The graph of evaluation mode; the same object where the mode cannot matter.
        losses: What either does not carry over from the model.
        mode_readers: The modules on whose mode the graphs may depend; empty if the mode cannot matter.
    """

    train: fx.GraphModule
    eval: fx.GraphModule
    losses: tuple[Loss, ...]
    mode_readers: tuple[str, ...]

    @property
    def diff(self) -> ModeDiff:
        """How the graphs, as they are now, differ; found out anew each time."""
        return ModeDiff() if self.eval is self.train else DiffModes(self.eval).call(self.train).diff


def capture_both(model: nn.Module, options: CaptureOptions) -> BothModes:
    """Captures and names `model` in training and in evaluation mode.

    A trace that never asked for a module's mode is the same in the other mode, so there is only one then.

    Raises:
        CaptureError: No capture takes both modes; the message says so where one mode alone can be captured.
    """
    require_module(model)
    leaves = present_leaves(model, options.leaf_modules)
    taken: set[str] = set()
    try:
        return _first_working(model, options, lambda capture: _capture_both(capture, model, leaves, options, taken))
    except CaptureError as error:
        if not taken:
            with suppress(CaptureError):
                capture_mode(model, False, options)
                taken.add("eval")
        if not taken:
            raise
        mode = taken.pop()
        raise CaptureError(f"{error}\n  - mode={mode!r} captures {mode} mode alone, which works here") from error


def capture_one(model: nn.Module, mode: Literal["train", "eval"], options: CaptureOptions) -> BothModes:
    """Captures and names `model` in one mode, whose graph then stands in the place of both."""
    captured = capture_mode(model, mode == "train", options)
    record = capture_record(captured)
    return BothModes(captured, captured, () if record is None else record.losses, ())


def capture_mode(model: nn.Module, training: bool | None, options: CaptureOptions) -> fx.GraphModule:
    """Captures and names `model` in one mode; None stands for each submodule's mode as it is."""
    require_module(model)
    leaves = present_leaves(model, options.leaf_modules)
    return _first_working(model, options, lambda capture: _capture(capture, model, training, leaves, options))


def _first_working(model: nn.Module, options: CaptureOptions, make: Callable[[Capture], Captured]) -> Captured:
    captures = captures_to_try(options.capture, options.examples)
    return first_working(model, captures, make, bool(options.examples))


def _capture_both(
    capture: Capture, model: nn.Module, leaves: tuple[type[nn.Module], ...], options: CaptureOptions, taken: set[str]
) -> BothModes:
    train = _capture(capture, model, True, leaves, options)
    taken.add("train")
    record = capture_record(train)
    if record is not None and not record.mode_readers:
        return BothModes(train, train, record.losses, ())
    eval_ = _capture(capture, model, False, leaves, options)
    readers, losses = (_of_both(train, eval_, what) for what in ("mode_readers", "losses"))
    return BothModes(train, eval_, losses, readers)


def names_of(graph_module: fx.GraphModule) -> list[str]:
    """Returns the qualified names of a named graph in order of execution, without the output's."""
    names = (qualified_name(node) for node in graph_module.graph.nodes if node.op != "output")
    return [name for name in names if name is not None]


def present_leaves(model: nn.Module, leaf_modules: Iterable[type[nn.Module]]) -> tuple[type[nn.Module], ...]:
    """Returns `leaf_modules` as a tuple.

    Raises:
        ArgumentTypeError: Not all of them are classes of modules.
        UnknownLeafError: A class that no module of the model belongs to.
    """
    leaves = checked_leaf_classes(leaf_modules)
    kinds = {type(module) for module in model.modules()}
    for leaf in leaves:
        if not any(issubclass(kind, leaf) for kind in kinds):
            own = ", ".join(sorted(kind.__name__ for kind in kinds if not kind.__module__.startswith("torch.nn")))
            raise UnknownLeafError(
                f"leaf_modules: {type(model).__name__} has no module of class {leaf.__name__}."
                + (f" Its own classes: {own}." if own else "")
            )
    return leaves


def warn_of_differences(diff: ModeDiff, subject: str, stacklevel: int) -> None:
    """Issues a `ModeDifferenceWarning` that says which nodes differ, unless none does."""
    if not diff:
        return
    shown = "\n".join(f"  {change}" for change in diff.changes[:10])
    more = len(diff.changes) - 10
    warnings.warn(
        f"Train and eval mode compute {subject} differently:\n{shown}\n"
        + (f"  and {more} more\n" if more > 0 else "")
        + "Ask for the values of each mode by train_return_nodes and eval_return_nodes, or set suppress_diff_warning=True.",
        ModeDifferenceWarning,
        stacklevel=stacklevel + 1,
    )


def _capture(
    capture: Capture,
    model: nn.Module,
    training: bool | None,
    leaves: tuple[type[nn.Module], ...],
    options: CaptureOptions,
) -> fx.GraphModule:
    tracer_options = dict(options.tracer_kwargs or {})
    tracer_options["leaf_modules"] = (*leaves, *tracer_options.get("leaf_modules", ()))
    captured = capture_by(capture, model, training, options.examples, tracer_options, options.concrete_args)
    return NameNodes(options.names)(captured).graph_module


def _of_both(train: fx.GraphModule, eval_: fx.GraphModule, what: str) -> tuple[Any, ...]:
    """Returns what the records of both captures hold, each thing once."""
    found = (getattr(capture_record(graph_module), what, ()) for graph_module in (train, eval_))
    return tuple(dict.fromkeys(each for part in found for each in part))
