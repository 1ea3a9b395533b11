from __future__ import annotations

import copy
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from support.mutations import edits_meta, node, replaces, retargets, sets_args, traced
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.errors import FalseClaimError, PassError, VerificationError
from fxpasses.graph.edit import replace_call
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.manager import (
    AuditMeta,
    CheckClaims,
    DumpGraphs,
    Pass,
    PassManager,
    PassResult,
    PrintChanges,
    Provenance,
    SkipPasses,
    StopAfter,
    VerifyStructure,
)
from fxpasses.passes.name_nodes import NameNodes


def test_lost_meta_is_listed_by_pass_and_key() -> None:
    def inserts(graph_module: fx.GraphModule) -> None:
        with graph_module.graph.inserting_after(node(graph_module, "add")):
            new = graph_module.graph.call_method("neg", (node(graph_module, "add"),))
        node(graph_module, "relu").args = (new,)

    def strips(graph_module: fx.GraphModule) -> None:
        del node(graph_module, "mul").meta["place"]

    def careful(graph_module: fx.GraphModule) -> None:
        replace_call(node(graph_module, "sigmoid"), "call_method", "sigmoid", node(graph_module, "sigmoid").args)

    audit = AuditMeta()
    graph_module = traced()
    PassManager([inserts, strips, careful_setup, careful], instruments=[audit])(graph_module)
    assert str(audit).splitlines() == [
        "inserts (pass 1) lost meta['place'] on neg (new)",
        "strips (pass 2) lost meta['place'] on mul (removed)",
        "careful_setup (pass 3) lost meta['place'] on sigmoid (replaced)",
    ]


def careful_setup(graph_module: fx.GraphModule) -> None:
    replaces(graph_module)


def test_a_fact_that_is_claimed_and_does_not_hold_is_found_out() -> None:
    @dataclass(frozen=True)
    class Pretends(Pass):
        provides: ClassVar[frozenset[Fact]] = frozenset({NAMES})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    @dataclass(frozen=True)
    class Loses(Pass):
        preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            for each in graph_module.graph.nodes:
                each.meta.pop("custom", None)
            return PassResult(graph_module, True)

    PassManager([Pretends()])(traced())
    with pytest.raises(FalseClaimError, match="claims to provide 'names', which does not hold"):
        PassManager([Pretends()], instruments=[CheckClaims()])(traced())
    with pytest.raises(FalseClaimError, match="claims to preserve 'names', which it lost"):
        PassManager([NameNodes(), Loses()], instruments=[CheckClaims()])(traced())


def test_a_change_of_meta_alone_is_a_change() -> None:
    assert PassManager([NameNodes()], instruments=[CheckClaims()])(traced()).modified


def test_a_copy_that_says_it_changed_nothing_is_right() -> None:
    def copies(graph_module: fx.GraphModule) -> PassResult:
        graph = copy.deepcopy(graph_module.graph)
        list(graph.nodes)[1].name = "total"
        return PassResult(fx.GraphModule(graph_module, graph), False)

    PassManager([copies], instruments=[CheckClaims()])(traced())


def test_a_malformed_input_is_no_passs_fault() -> None:
    graph_module = traced()
    node(graph_module, "relu").users.clear()
    with pytest.raises(VerificationError, match="Before any pass ran, this was so already"):
        PassManager([sets_args], instruments=[VerifyStructure()])(graph_module)


def test_a_pass_that_corrupts_users_alone_is_found() -> None:
    def corrupts(graph_module: fx.GraphModule) -> None:
        node(graph_module, "relu").users.clear()

    with pytest.raises(PassError, match=r"After corrupts \(pass 3\): The graph is malformed: 'relu' is used by"):
        PassManager([lambda _: None, edits_meta, corrupts], instruments=[VerifyStructure()])(traced())


def test_a_pass_that_leaves_a_stale_value_is_found() -> None:
    def stale(graph_module: fx.GraphModule) -> None:
        node(graph_module, "sum_1").kwargs = {"dim": 0, "keepdim": True}

    graph_module = traced()
    ShapeProp(graph_module).propagate(torch.ones(2, 3))
    with pytest.raises(PassError, match="meta of 'sum_1' is stale: it says float32"):
        PassManager([lambda _: None, stale], instruments=[VerifyStructure()])(graph_module)


def test_dumps_are_numbered_and_only_of_changes(tmp_path: Path) -> None:
    def fails(graph_module: fx.GraphModule) -> None:
        sets_args(graph_module)
        raise KeyError("no")

    with pytest.raises(PassError):
        PassManager([lambda _: None, replaces, lambda _: None, fails], instruments=[DumpGraphs(tmp_path / "a" / "b")])(
            traced()
        )
    files = {path.name: path.read_text() for path in (tmp_path / "a" / "b").iterdir()}
    assert sorted(files) == ["000-input.txt", "002-replaces.diff", "002-replaces.txt", "004-fails.failed.txt"]
    assert "sigmoid = call_function[sigmoid](add)" in files["002-replaces.txt"]
    assert files["002-replaces.diff"].splitlines()[:5] == [
        "  x = placeholder[x]()",
        "  add = call_function[add](x, 1)",
        "- relu = call_function[relu](add)",
        "+ sigmoid = call_function[sigmoid](add)",
        "- sum_1 = call_method[sum](relu, dim=0)",
    ]
    assert "# KeyError: 'no'" in files["004-fails.failed.txt"]


def test_a_diff_is_coloured_on_a_terminal_alone() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()
    PassManager([sets_args], instruments=[PrintChanges(plain), PrintChanges(terminal)])(traced())
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[31m- mul = call_function[mul](sum_1, 2)\x1b[0m\n" in terminal.getvalue()
    assert plain.getvalue().splitlines()[2:4] == ["@@", "  relu = call_function[relu](add)"]


def test_reports_are_tables_and_json() -> None:
    rich = pytest.importorskip("rich.console")
    manager = PassManager([NameNodes(), PassManager([replaces, retargets])], instruments=[SkipPasses("retargets")])
    report = manager(traced()).report
    lines = str(report).splitlines()
    assert lines[0].split() == ["pass", "ms", "changed", "added", "removed", "replaced", "edited", "skipped"]
    assert lines[4].split()[2:] == ["yes", "1", "1", "1", "1"] or lines[4].split()[1:] == ["yes", "1", "1", "1", "1"]
    assert lines[5].split() == ["retargets", "named", "in", "SkipPasses"]
    console = rich.Console(file=io.StringIO(), width=100)
    console.print(report)
    assert "retargets" in console.file.getvalue()
    tree = json.loads(report.to_json())
    assert tree["children"][1]["children"][0]["replaced"] == 1
    assert tree["children"][1]["children"][1]["skipped"] == "named in SkipPasses"


def test_only_so_many_passes_run() -> None:
    manager = PassManager([replaces, PassManager([lambda _: None, sets_args])], instruments=[StopAfter(2)])
    for _ in range(2):  # each run counts anew
        report = manager(traced()).report
        assert [each.skipped for each in report if not each.children] == [None, None, "after the first 2"]


def test_instruments_of_a_nested_pipeline_see_what_runs_there() -> None:
    inner, outer = Provenance(), Provenance()
    manager = PassManager([sets_args, PassManager([retargets], instruments=[inner])], instruments=[outer])
    manager(traced())
    assert inner.why("mul") == ()
    assert [str(cause) for cause in inner.why("relu")] == ["retargets (pass 2.1) edited target"]
    assert len(outer.why("mul")) == len(outer.why("relu")) == 1
