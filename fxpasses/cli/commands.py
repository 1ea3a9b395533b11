"""What each command of the shell does."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import fx, nn

from fxpasses.cli.inputs import Call, examples, make_call, usual_examples
from fxpasses.cli.models import find_leaf_modules, find_model
from fxpasses.cli.output import check_tensor_file, print_json, print_table, write_graph, write_tensors
from fxpasses.errors import RequestError, UnknownNodeError
from fxpasses.feature_extraction import DualGraphModule, create_feature_extractor, get_graph_node_names
from fxpasses.feature_extraction.captures import Examples, capture_by, captures_to_try, first_working
from fxpasses.feature_extraction.diagnosis import COLUMNS, diagnose
from fxpasses.manager import PassManager
from fxpasses.passes.diff_modes import DiffModes, diff_as_networkx
from fxpasses.passes.name_nodes import NameNodes


def _names(arguments: Namespace) -> None:
    model = find_model(arguments.model, compute=False)
    options = _options(model, arguments)
    modes = ("train", "eval") if arguments.mode == "both" else (arguments.mode,)
    found = {mode: get_graph_node_names(model, mode=mode, **options) for mode in modes}
    if arguments.json:
        return print_json(found)
    if arguments.mode != "both":
        return print("\n".join(found[arguments.mode]))
    inside = {mode: set(names) for mode, names in found.items()}
    of_mode = {name: [mode for mode in modes if name in inside[mode]] for names in found.values() for name in names}
    return print_table(("name", "modes"), [(name, ", ".join(of)) for name, of in of_mode.items()])


def _diff(arguments: Namespace) -> None:
    train, eval_ = _named(find_model(arguments.model, compute=False), arguments)
    diff = DiffModes(eval_).call(train).diff
    columns = ("name", "status", "train", "eval")
    rows = [{column: getattr(change, column) for column in columns} for change in diff.changes]
    if arguments.json:
        return print_json(rows)
    return print_table(columns, [[value or "" for value in row.values()] for row in rows]) if diff else print(diff)


def _extract(arguments: Namespace) -> None:
    if arguments.out:
        check_tensor_file(arguments.out)
    torch.manual_seed(arguments.seed)
    model = find_model(arguments.model, arguments.weights).train(arguments.mode == "train")
    call = make_call(arguments, model)
    extractor = _extractor_for_mode(model, arguments, call)
    features = _compute(extractor, call, arguments.model)
    if arguments.out:
        write_tensors(features, arguments.out)
    rows = [_describe(name, value) for name, value in features.items()]
    if arguments.json:
        size = [[*each.shape] for _, each in _tensors([*call.args, *call.kwargs.values()])]
        described = {"input_size": size[0] if len(size) == 1 else size, "features": rows}
        return print_json({"model": arguments.model, "mode": arguments.mode, **described})
    return print_table(("name", "shape", "dtype", "mean", "std"), [[*map(_cell, row.values())] for row in rows])


def _draw(arguments: Namespace) -> None:
    model = find_model(arguments.model, compute=False)
    if arguments.names:
        extractor = _extractor(model, arguments, _options(model, arguments), return_nodes=arguments.names)
        train, eval_ = extractor.train_graph, extractor.eval_graph
    else:
        train, eval_ = (graph_module.graph for graph_module in _named(model, arguments))
    write_graph(diff_as_networkx(train, eval_), arguments.out)


def _run(arguments: Namespace) -> None:
    pipeline = PassManager.parse(arguments.pipeline)
    model = find_model(arguments.model, compute=False)
    result = pipeline.call(_captured(model, arguments, arguments.mode))
    if arguments.code:
        return print(result.graph_module.code.strip())
    if arguments.json:
        return print(result.report.to_json())
    counts = ("added", "removed", "replaced", "edited")
    rows = [
        [
            "  " * len(each.position) + each.name,
            f"{1000 * each.seconds:.1f}",
            *(str(getattr(each, count)) for count in counts),
        ]
        for each in result.report
    ]
    return print_table(("pass", "ms", *counts), rows)


def _doctor(arguments: Namespace) -> None:
    model = find_model(arguments.model, compute=False)
    call = examples(arguments.input, model) if arguments.input else usual_examples(arguments.model, model)
    leaves = find_leaf_modules(model, arguments.leaf)
    diagnosis = diagnose(model, call.args or None, call.kwargs, leaves)
    if arguments.json:
        trials = [asdict(trial) for trial in diagnosis.trials]
        return print_json({"model": arguments.model, "trials": trials, "call": diagnosis.call()})
    print_table(COLUMNS, diagnosis.rows())
    for text in (*diagnosis.failures(), diagnosis.advice()):
        print(f"\n{text}")
    return None


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "names": _names,
    "diff": _diff,
    "extract": _extract,
    "draw": _draw,
    "run": _run,
    "doctor": _doctor,
}


def _options(model: nn.Module, arguments: Namespace, call: Call | None = None) -> dict[str, Any]:
    """Returns the options of a capture that the shell was given.

    Args:
        model: The model.
        arguments: What the shell was given.
        call: Arguments of the model that are at hand; those of `--input` otherwise.
    """
    options: dict[str, Any] = {"leaf_modules": find_leaf_modules(model, arguments.leaf), "capture": arguments.capture}
    if call is None:
        call = examples(arguments.input, model)
    if arguments.input or arguments.capture in ("values", "export"):
        options.update(example_inputs=call.args or None, example_kwargs=call.kwargs)
    return options


def _captured(model: nn.Module, arguments: Namespace, mode: str) -> fx.GraphModule:
    options = _options(model, arguments)
    tracer_options = {"leaf_modules": options["leaf_modules"]}
    given = Examples(options.get("example_inputs"), options.get("example_kwargs"))
    return first_working(
        model,
        captures_to_try(arguments.capture, given),
        lambda capture: capture_by(capture, model, mode == "train", given, tracer_options),
        bool(given),
    )


def _named(model: nn.Module, arguments: Namespace) -> list[fx.GraphModule]:
    """Returns the graphs of training and of evaluation mode, named."""
    return [NameNodes().call(_captured(model, arguments, mode)).graph_module for mode in ("train", "eval")]


def _extractor_for_mode(model: nn.Module, arguments: Namespace, call: Call) -> DualGraphModule:
    """Makes an extractor for one mode: a name that the other mode does not have is no mistake here."""
    options = _options(model, arguments, call)
    return _extractor(model, arguments, {**options, "mode": arguments.mode}, return_nodes=arguments.names)


def _extractor(model: nn.Module, arguments: Namespace, options: dict[str, Any], **wanted: list[str]) -> DualGraphModule:
    try:
        return create_feature_extractor(model, **cast("Any", wanted), **options, suppress_diff_warning=True)
    except UnknownNodeError as error:
        raise UnknownNodeError(f"{error}\nIn the shell: fxpasses names {arguments.model} --mode both") from error


def _compute(extractor: nn.Module, call: Call, model: str) -> dict[str, torch.Tensor]:
    try:
        with torch.no_grad():
            return dict(_tensors(extractor(*call.args, **call.kwargs)))
    except Exception as error:
        shapes = [_cell([*each.shape]) for _, each in _tensors([*call.args, *call.kwargs.values()])]
        raise RequestError(
            f"{model} raised {type(error).__name__} on an input of shape {', '.join(shapes)}: {error}\n"
            "--size gives another height and width, or another shape; --input gives any other inputs."
        ) from error


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors in nested dicts, tuples and lists, each with its path."""
    if isinstance(value, torch.Tensor):
        yield name, value
        return
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        parts = cast("dict[Any, Any]", value).items()
    elif isinstance(value, (list, tuple)):
        parts = enumerate(cast("list[Any]", value))
    for key, part in parts:
        yield from _tensors(part, f"{name}.{key}" if name else str(key))


def _describe(name: str, value: torch.Tensor) -> dict[str, Any]:
    numbers = value.double()
    mean, std = (each.item() if value.numel() else None for each in (numbers.mean(), numbers.std(correction=0)))
    dtype = str(value.dtype).removeprefix("torch.")
    return {"name": name, "shape": [*value.shape], "dtype": dtype, "mean": mean, "std": std}


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, cast("list[int]", value))) or "scalar"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
