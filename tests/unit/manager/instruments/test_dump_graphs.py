from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import fx

from fxpasses.errors import PassError
from fxpasses.manager import DumpGraphs, PassManager, PrintChanges


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(lambda x: torch.relu(x + 1).sum(dim=0) * 2)


def triples(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.name == "mul":
            node.args = (node.args[0], 3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_kind_of_line_has_its_colour_on_a_terminal() -> None:
    terminal = Terminal()
    PassManager([triples], instruments=[PrintChanges(terminal)])(traced())
    red, green, cyan, plain = (f"\x1b[{code}m" for code in (31, 32, 36, 0))
    assert terminal.getvalue().splitlines() == [
        f"{red}--- before triples (pass 1){plain}",
        f"{green}+++ after triples (pass 1){plain}",
        f"{cyan}@@{plain}",
        "  relu = call_function[relu](add)",
        "  sum_1 = call_method[sum](relu, dim=0)",
        f"{red}- mul = call_function[mul](sum_1, 2){plain}",
        f"{green}+ mul = call_function[mul](sum_1, 3){plain}",
        "  output = output[output](mul)",
    ]


def test_each_run_numbers_its_files_anew(tmp_path: Path) -> None:
    manager = PassManager([triples], instruments=[DumpGraphs(tmp_path)])
    for _ in range(2):
        manager(traced())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000-input.txt", "001-triples.diff", "001-triples.txt"]


def test_a_file_holds_a_line_for_each_node_and_then_why_the_pass_failed(tmp_path: Path) -> None:
    def fails(graph_module: fx.GraphModule) -> None:
        triples(graph_module)
        raise ValueError("first\nsecond")

    with pytest.raises(PassError):
        PassManager([fails], instruments=[DumpGraphs(tmp_path)])(traced())
    lines = [
        "x = placeholder[x]()",
        "add = call_function[add](x, 1)",
        "relu = call_function[relu](add)",
        "sum_1 = call_method[sum](relu, dim=0)",
        "mul = call_function[mul](sum_1, {})",
        "output = output[output](mul)",
    ]
    text = "\n".join(lines)
    assert (tmp_path / "000-input.txt").read_text() == text.format(2) + "\n"
    assert (tmp_path / "001-fails.failed.txt").read_text() == text.format(3) + "\n\n# ValueError: first\n# second\n"


@pytest.mark.parametrize(
    ("name", "file"), [("<locals> a/b:c", "locals-a-b-c"), ("_triples_v1.2_", "_triples_v1.2_"), ("-x-", "x")]
)
def test_a_file_is_named_after_the_pass_in_letters_that_any_system_takes(name: str, file: str, tmp_path: Path) -> None:
    def pass_(graph_module: fx.GraphModule) -> None:
        triples(graph_module)

    pass_.__name__ = name
    PassManager([pass_], instruments=[DumpGraphs(tmp_path)])(traced())
    assert (tmp_path / f"001-{file}.txt").exists()
