from __future__ import annotations

import json
import time

import pytest
from torch import fx, nn

from fxpasses.manager import PassManager, Report, SkipPasses
from fxpasses.passes.name_nodes import NameNodes


def sleeps(graph_module: fx.GraphModule) -> None:
    time.sleep(0.01)


def report_of(*skipped: str) -> Report:
    manager = PassManager([sleeps, PassManager([NameNodes()])], instruments=[SkipPasses(*skipped)])
    return manager(fx.symbolic_trace(nn.ReLU())).report


def test_a_report_says_how_long_a_pass_ran() -> None:
    started = time.perf_counter()
    report = report_of()
    assert 0.01 <= report.children[0].seconds <= report.seconds <= time.perf_counter() - started


def test_a_pass_that_did_not_run_did_nothing() -> None:
    manager = PassManager([NameNodes()], instruments=[SkipPasses("name-nodes")])
    result = manager(fx.symbolic_trace(nn.ReLU()))
    skipped = Report("name-nodes", (0,), skipped="named in SkipPasses")
    assert not result.modified
    assert not result.results[0].modified
    assert result.report.children == (skipped,)
    for report in (result.report, skipped):
        assert not report.changed
        assert report.claimed is None
        assert (report.seconds, report.added, report.removed, report.replaced, report.edited) == (0, 0, 0, 0, 0)


def test_a_table_is_indented_by_depth() -> None:
    names = [line.removesuffix(line.lstrip()) + line.split()[0] for line in str(report_of()).splitlines()]
    assert names == ["pass", "pipeline", "  sleeps", "  pipeline", "    name-nodes"]


def test_a_table_says_whether_a_pass_that_ran_changed_anything() -> None:
    rows = dict(line.split(maxsplit=1) for line in str(report_of("name-nodes")).splitlines())
    assert [rows["sleeps"].split()[1:], rows["name-nodes"]] == [["no"], "named in SkipPasses"]
    assert str(report_of()).splitlines()[-1].split()[2:] == ["yes"]


def test_json_is_indented_unless_it_is_to_be_one_line() -> None:
    report = report_of()
    assert report.to_json().splitlines()[:2] == ["{", '  "name": "pipeline",']
    assert len(report.to_json(indent=None).splitlines()) == 1
    assert json.loads(report.to_json()) == json.loads(report.to_json(None)) == json.loads(json.dumps(report.as_dict()))


def test_a_table_has_no_column_without_an_entry_and_entries_end_where_their_heading_does() -> None:
    heading, *rows = str(report_of()).splitlines()
    assert heading.split() == ["pass", "ms", "changed"]
    assert {len(row) for row in rows} == {len(heading)}
    ends = {row.index(row.split()[1]) + len(row.split()[1]) for row in rows}
    assert ends == {heading.index("ms") + len("ms")}


def test_rich_shows_numbers_to_the_right_and_dims_what_changed_nothing() -> None:
    pytest.importorskip("rich")
    table = report_of("name-nodes").__rich__()
    assert [(column.header, column.justify) for column in table.columns] == [
        ("pass", "left"),
        *((name, "right") for name in ("ms", "changed", "added", "removed", "replaced", "edited")),
        ("skipped", "left"),
    ]
    assert list(table.columns[0].cells) == ["pipeline", "  sleeps", "  pipeline", "    name-nodes"]
    assert [row.style for row in table.rows] == ["dim"] * 4
    assert [row.style for row in report_of().__rich__().rows] == [None, "dim", None, None]
