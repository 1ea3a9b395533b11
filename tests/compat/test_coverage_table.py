"""What the README and the table say of the models that each capture takes is what was measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


def coverage_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_table", ROOT / "benchmarks" / "coverage_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured() -> list[dict[str, Any]]:
    text = (ROOT / "benchmarks" / "coverage.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_readme_has_the_summary_of_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert coverage_table().summary_in(readme, measured()) == readme


def test_the_table_is_made_of_what_was_measured() -> None:
    assert coverage_table().table(measured()) == (ROOT / "benchmarks" / "coverage.md").read_text(encoding="utf-8")


def test_each_model_is_measured_once_in_each_way() -> None:
    keys = [(row["library"], row["model"], row["capture"]) for row in measured()]
    assert len(keys) == len(set(keys))


def test_a_model_is_counted_where_it_is_captured() -> None:
    row = {"seconds": 1.0, "nodes": 3, "nameable": 1.0, "output": ["equal", "equal"], "features": ["equal", "differs"]}
    cause = "CaptureError: The forward decides on data: in module 'a', file \"a/b.py\", line 3: if x: | more"
    rows = [
        {"library": "timm", "model": "one", "capture": "values", "eval": row, "train": {"cause": cause}},
        {"library": "timm", "model": "one", "capture": "export", "eval": {"cause": "no"}, "train": {"cause": "no"}},
        {"library": "timm", "model": "two", "capture": "values", "eval": {"cause": "no"}, "train": {"cause": "no"}},
        {"library": "timm", "model": "two", "capture": "export", "eval": row, "train": row},
    ]
    text = coverage_table().table(rows)
    assert "| models | 0 | 2 | 0 |" in text
    assert "| tracing with values, in eval mode | 0 | 1 | 0 |" in text
    assert '| `capture="auto"`, in eval mode | 0 | 2 | 0 |' in text
    assert '| `capture="auto"`, in train mode | 0 | 1 | 0 |' in text
    assert "| 0 of 0 | 0 of 1 | 0 of 0 |" in text
    assert "- timm, train mode, 1: `decides on data: b.py: if x:`: one" in text
