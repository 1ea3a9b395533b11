"""Symbolic capture: one trace of a model in one mode, without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from torch import fx, nn

from fxpasses.capture.failure import capture_failure
from fxpasses.capture.leaves import tracer_options as completed
from fxpasses.capture.modes import left_as_it_was
from fxpasses.capture.tracing.losses import warn_of_losses
from fxpasses.capture.tracing.tracer import CaptureTracer
from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.calls import CaptureRecord
from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.meta import set_capture_record


def capture_symbolic(
    model: nn.Module,
    *,
    training: bool | None = None,
    tracer_options: Mapping[str, Any] | None = None,
    concrete_args: Mapping[str, Any] | None = None,
    make_tracer: Callable[..., CaptureTracer] = CaptureTracer,
    warn: bool = True,
) -> fx.GraphModule:
    """Traces `model` once, symbolically, and leaves it exactly as it was.

    The nodes carry `nn_module_stack`; the graph module's record holds what each traced-through module call
    took and returned, and the model itself. Parameters, buffers and leaf modules are the model's own.

    Args:
        model: The model; it is not run, and nothing is stored on it.
        training: The mode to trace: True, False, or None for each submodule's mode as it is.
        tracer_options: Leaves and functions to record whole; see `fxpasses.capture.leaves.tracer_options`.
        concrete_args: Values for arguments of the model's forward that are to be constants of the graph.
        make_tracer: The tracer's class, called with the completed options.
        warn: Whether to warn of what the graph does not carry over; the record holds it in any case.

    Returns:
        A graph module that computes what the model computes in that mode.

    Raises:
        ArgumentTypeError: `model` is not an `nn.Module`.
        CaptureError: The model cannot be traced; the message names module, file and line.

    Warns:
        FidelityWarning: The graph does not carry over something of the model, such as a `no_grad` block or hooks.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> [node.name for node in capture_symbolic(model).graph.nodes]
        ['input_1', '_0', '_1', 'output']
    """
    require_module(model)
    tracer = make_tracer(**completed(tracer_options))
    with left_as_it_was(model, training):
        mode = model.training
        try:
            graph = tracer.trace(model, None if concrete_args is None else dict(concrete_args))
        except Exception as error:
            raise capture_failure(model, error, tracer.stack_of(error)) from error
    if warn:
        warn_of_losses(tracer.losses.losses())
    graph_module = graph_module_of(model, mode, tracer, graph)
    tracer.forget()
    return graph_module


def require_module(model: object) -> None:
    """Raises `ArgumentTypeError` unless `model` is an `nn.Module`."""
    if isinstance(model, nn.Module):
        return
    hint = f"Did you mean {model.__name__}()?" if isinstance(model, type) else "Wrap a function in a module's forward."
    raise ArgumentTypeError(f"model: expected an nn.Module, got {model!r} of type {type(model).__name__}. {hint}")


def graph_module_of(model: nn.Module, training: bool, tracer: CaptureTracer, graph: fx.Graph) -> fx.GraphModule:
    """Makes the graph module of a finished trace, with its record and its constants.

    A constant tensor that the forward made while it was traced becomes a buffer outside of the state dict, so
    that it follows the module to another device.
    """
    _resolve_annotations(model, graph)
    graph_module = LazyGraphModule(model, graph, type(model).__name__)
    graph_module.training = training
    for name, value in tracer.constants.items():
        graph_module.register_buffer(name, value, persistent=False)
    set_capture_record(
        graph_module,
        CaptureRecord(
            model, training, tracer.calls(), tracer.losses.losses(), tracer.mode_readers(), tracer.tree.aliases
        ),
    )
    return graph_module


def _resolve_annotations(model: nn.Module, graph: fx.Graph) -> None:
    """Gives arguments the types that their annotations name: as text they mean nothing in the generated code."""
    nodes = [node for node in graph.nodes if isinstance(node.type, str)]
    if not nodes:
        return
    try:
        hints = get_type_hints(type(model).forward)
    except Exception:  # annotations may name what exists for type checkers only
        hints = dict[str, Any]()
    for node in nodes:
        node.type = hints.get("return" if node.op == "output" else str(node.target).lstrip("*"))
