"""How the shell shows results: tables, JSON and drawings, and the packages that some of them need."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxpasses.errors import MissingExtraError, RequestError

if TYPE_CHECKING:
    import networkx as nx
    import torch

_COLORS = {"only in train": "orange", "only in eval": "lightblue", "same": "white"}


def optional(module: str, purpose: str) -> Any:
    """Imports a module of the extra `cli`.

    Raises:
        MissingExtraError: It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"PIL": "Pillow"}.get(module.split(".")[0], module.split(".")[0])
        raise MissingExtraError(f'{purpose} needs {package}: pip install "fxpasses[cli]"') from error


def print_json(value: Any) -> None:
    """Prints `value` as JSON."""
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints by rich on a terminal, if rich is installed; otherwise as aligned text, which other programs read.

    Example:
        >>> print_table(("name", "shape"), [("x", "1x3"), ("layer1", "1x64")])
        name    shape
        x       1x3
        layer1  1x64
    """
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            return _print_rich_table(columns, rows)
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return None


def _print_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def check_tensor_file(file: Path) -> None:
    """Raises what `write_tensors` would raise, before there is something to lose.

    Raises:
        RequestError: Another suffix than `.safetensors`, or a folder that is not there.
        MissingExtraError: The package that writes such files is not installed.
    """
    optional("safetensors.torch", "--out")
    if file.suffix != ".safetensors" or not file.parent.is_dir():
        raise RequestError(f"--out {file}: give a .safetensors file in a folder that exists.")


def write_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Writes `tensors` to a `.safetensors` file, each with memory of its own."""
    try:
        optional("safetensors.torch", "--out").save_file(
            {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file
        )
    except optional("safetensors", "--out").SafetensorError as error:
        raise RequestError(f"--out {file}: {error}") from error


def write_graph(graph: nx.MultiDiGraph[str], file: Path) -> None:
    """Writes a graph whose nodes have a `status` and whose edges have `modes`, as the suffix of `file` says.

    Raises:
        RequestError: The suffix is neither `.dot` nor `.json`.
        MissingExtraError: A `.dot` file needs a package that is not installed.
    """
    if file.suffix not in (".dot", ".json"):
        raise RequestError(f"--out {file}: the suffix says what to write: .dot for Graphviz, .json for networkx.")
    file.write_text(_as_dot(graph) if file.suffix == ".dot" else _as_json(graph), encoding="utf-8")


def _as_json(graph: nx.MultiDiGraph[str]) -> str:
    from networkx.readwrite import json_graph

    return json.dumps(json_graph.node_link_data(graph, edges="edges"), indent=1)


def _as_dot(graph: nx.MultiDiGraph[str]) -> str:
    import networkx as nx

    optional("pydot", "A .dot file")
    drawing: nx.DiGraph[Any] = nx.DiGraph()
    numbers = {name: number for number, name in enumerate(graph)}
    for name, data in graph.nodes(data=True):
        color = _COLORS.get(data["status"], "yellow")
        label = f"{name}\n{data['op']} {data['target']}"
        drawing.add_node(numbers[name], label=label, shape="box", style="filled", fillcolor=color)
    for source, user, modes in graph.edges(data="modes"):
        drawing.add_edge(numbers[source], numbers[user], style="solid" if len(modes) == 2 else "dashed")
    return str(nx.nx_pydot.to_pydot(drawing).to_string())
