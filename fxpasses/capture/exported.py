"""Export capture: an exported program as the same kind of graph module that the other captures make."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from fxpasses.capture.export.arguments import DynamicSizes, dynamic_sizes, example_arguments, free_sizes
from fxpasses.capture.export.batch import Batch, batch_of
from fxpasses.capture.export.call_keys import own_keys
from fxpasses.capture.export.calls import exported_calls, own_stack
from fxpasses.capture.export.graph import plain_graph
from fxpasses.capture.export.output import OutputForm, plain_output, plain_paths, watched_calls
from fxpasses.capture.export.regions import inline_regions
from fxpasses.capture.failure import first_line
from fxpasses.capture.modes import left_as_it_was
from fxpasses.capture.patching import replaced
from fxpasses.capture.signature import Argument
from fxpasses.capture.symbolic import require_module
from fxpasses.capture.values.guards import GuardSet, set_guards, structure_guards
from fxpasses.errors import ArgumentTypeError, CaptureError
from fxpasses.graph.calls import CaptureRecord
from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.meta import set_capture_record
from fxpasses.graph.module_tree import ModuleTree
from fxpasses.graph.modules import attribute
from fxpasses.graph.regions import module_calls

_LONGEST_LINE = 200


def capture_exported(
    model: nn.Module,
    example_inputs: Any = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    training: bool | None = None,
    dynamic_shapes: Any = "batch",
) -> fx.GraphModule:
    """Exports `model` with `torch.export` and leaves it exactly as it was.

    The nodes are ATen operations; `CollapseLeaves` turns those of a layer back into a call of the layer.

    Args:
        model: The model.
        example_inputs: Positional arguments of the model's forward; a single tensor stands for itself.
        example_kwargs: Arguments by keyword.
        training: The mode to export: True, False, or None for each submodule's mode as it is.
        dynamic_shapes: `"batch"`: the first dimension of every tensor may vary, unless the model decides on it;
            otherwise what `torch.export.export` takes, None for no dimension.

    Returns:
        A graph module that computes what the model computes in that mode, over the model's own parameters.

    Raises:
        ArgumentTypeError: `model` is not an `nn.Module`, or the examples do not fit its forward.
        CaptureError: `torch.export` cannot export the model.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> graph_module = capture_exported(model, torch.ones(2, 2))
        >>> [str(node.target) for node in graph_module.graph.nodes if node.op == "call_function"]
        ['aten.linear.default', 'aten.relu.default']
        >>> graph_module(torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """
    require_module(model)
    args, kwargs = example_arguments(model, example_inputs, example_kwargs)
    with left_as_it_was(model, training):
        mode = model.training
        batch = batch_of(model, args, kwargs) if dynamic_shapes == "batch" else Batch(args, kwargs, 1)
        with plain_output(model) as form:
            sizes = dynamic_sizes(batch.args, batch.kwargs, dynamic_shapes)
            program = _exported(model, batch.args, batch.kwargs, sizes)
    return _graph_module(program, model, mode, form, batch.least)


def capture_program(
    program: ExportedProgram | str | os.PathLike[str], model: nn.Module | None = None
) -> fx.GraphModule:
    """Makes an exported program the same kind of graph module that the other captures make.

    Args:
        program: The program, or the path of one that `torch.export.save` wrote.
        model: The model that it was exported from, if it is at hand: its parameters are then shared, and its layers can
            be folded back. Otherwise the program's own parameters are used.

    Raises:
        ArgumentTypeError: `program` is neither.

    Example:
        >>> program = torch.export.export(nn.Linear(2, 3), (torch.ones(4, 2),))
        >>> capture_program(program)(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """
    if isinstance(program, (str, os.PathLike)):
        program = torch.export.load(os.fspath(program))
    if not isinstance(program, ExportedProgram):
        raise ArgumentTypeError(
            f"program: expected an ExportedProgram or a path, got an object of type {type(program).__name__}."
        )
    return _graph_module(program, model, False if model is None else model.training, OutputForm())


def _print_nothing(*_: object, **__: object) -> None:
    """Stands for `print` in `torch.export`, which prints all of a graph that it could not finish."""


def _exported(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: DynamicSizes) -> ExportedProgram:
    """Exports with as many of the modules' signatures, and with as many free sizes, as `torch.export` lets through."""
    from torch.export import _trace  # imports all of torch._dynamo: only who exports is to wait for that

    tree = ModuleTree.of(model)
    paths = tuple(path for path in (*tree.paths.values(), *tree.aliases) if path)
    failures: list[Exception] = []

    def attempt(dynamic: DynamicSizes, preserved: tuple[str, ...]) -> ExportedProgram | None:
        try:
            with replaced({0: _trace.__dict__}, {"print": _print_nothing}), warnings.catch_warnings():
                # A recurrent layer puts its own parameters into this list of its: nothing of the model is lost.
                warnings.filterwarnings("ignore", r"The tensor attributes? self\.[^ ]*_flat_weights\[")
                return torch.export.export(
                    model, args, kwargs, dynamic_shapes=dynamic, strict=False, preserve_module_call_signature=preserved
                )
        except Exception as error:  # torch.export raises whatever the model or the tracer raised
            failures.append(error)
            return None

    for dynamic in (sizes, None):
        program = attempt(dynamic, paths)
        if program is not None:
            return program
        with watched_calls(model) as seen:
            program = attempt(dynamic, ())
        if program is not None:
            plain = plain_paths(paths, seen, tree.aliases)
            return (attempt(dynamic, plain) if 0 < len(plain) < len(paths) else None) or program
    raise _failure(model, failures[-1])  # of the attempt that asked for the least


def _failure(model: nn.Module, error: Exception) -> CaptureError:
    said = first_line(error)
    if len(said) > _LONGEST_LINE:  # a decision on data may print every size that it depends on
        said = f"{said[:_LONGEST_LINE]} …"
    failure = CaptureError(
        f"{type(model).__name__} cannot be exported: {type(error).__name__}: {said}\n"
        "torch.export.draft_export(model, args, kwargs) lists what is in the way."
    )
    failure.__cause__ = error
    return failure


def _graph_module(
    program: ExportedProgram, model: nn.Module | None, training: bool, form: OutputForm, least: int = 1
) -> fx.GraphModule:
    unlifted = program.module(check_guards=False)
    root = unlifted if model is None else model
    inlined = inline_regions(unlifted)
    arguments = _arguments(program)
    aliases = {} if model is None else ModuleTree.of(model).aliases
    graph, nodes = plain_graph(unlifted, arguments, form, aliases)
    nodes |= _inputs_by_name(program, unlifted, nodes)
    nodes |= {name: nodes[node.name] for name, node in inlined.values.items() if node.name in nodes}
    types = {path: type(module) for path, module in root.named_modules()} if model is not None else {}
    keys = own_keys(program, graph, aliases)
    for node in graph.nodes:
        own_stack(node, types, keys)
    constants = _constants(graph, unlifted, root)
    graph_module = LazyGraphModule(root, graph, type(root).__name__ if model is not None else "ExportedProgram")
    graph_module.training = training
    for name, constant in constants.items():
        graph_module.register_buffer(name, constant, persistent=False)
    calls = exported_calls(program, graph, nodes, types, keys, module_calls(graph_module), inlined.calls)
    losses = inlined.losses(nodes)
    set_capture_record(graph_module, CaptureRecord(root, training, calls, losses, aliases=aliases))
    set_guards(graph_module, _guards(program, graph, arguments, least))
    return graph_module


def _inputs_by_name(
    program: ExportedProgram, unlifted: fx.GraphModule, nodes: Mapping[str, fx.Node]
) -> dict[str, fx.Node]:
    """Returns the nodes for the program's own inputs, parameters and buffers, by their names in the program."""
    signature = program.graph_signature
    placeholders = unlifted.graph.find_nodes(op="placeholder")
    named = {name: node.name for name, node in zip(signature.user_inputs, placeholders, strict=False)}
    by_path = {str(node.target): node.name for node in unlifted.graph.find_nodes(op="get_attr")}
    for name, path in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items():
        named[name] = by_path.get(path, name)
    return {str(name): nodes[own] for name, own in named.items() if own in nodes}


def _arguments(program: ExportedProgram) -> list[Argument]:
    """Returns the arguments of the exported forward, in order, each with its example."""
    if program.example_inputs is None:
        raise CaptureError("The exported program has no example inputs: export it again without removing them.")
    args, kwargs = program.example_inputs
    names = [name for name in _argument_names(program) if name not in kwargs]
    names += [f"args_{index}" for index in range(len(names), len(args))]
    positional = [Argument(name, value, False) for name, value in zip(names, args, strict=False)]
    return [*positional, *(Argument(name, value, True) for name, value in kwargs.items())]


def _argument_names(program: ExportedProgram) -> list[str]:
    signature = program.module_call_graph[0].signature
    names = None if signature is None else signature.forward_arg_names
    return list(names or [])


def _constants(graph: fx.Graph, unlifted: fx.GraphModule, root: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors that the export found and the model does not have, by the names that the graph now uses.

    As buffers of the graph module's own they follow it to another device; its submodules are the model's.
    """
    found: dict[str, torch.Tensor] = {}
    for node in graph.find_nodes(op="get_attr"):
        path = str(node.target)
        tensor = attribute(unlifted, path)
        if attribute(root, path) is not None or not isinstance(tensor, torch.Tensor):
            continue
        name = path.replace(".", "_")
        while hasattr(root, name) or (name in found and found[name] is not tensor):
            name += "_"
        found[name] = tensor
        node.target = name
    return found


def _guards(program: ExportedProgram, graph: fx.Graph, arguments: Sequence[Argument], least: int) -> GuardSet:
    fixed = free_sizes(program, least)
    examples = [argument.value for argument in arguments]
    leaves = [leaf for example in examples for leaf in pytree.tree_leaves(example)]
    sizes = [fixed.get(index) if isinstance(leaf, torch.Tensor) else None for index, leaf in enumerate(leaves)]
    return structure_guards(graph, examples, sizes)
