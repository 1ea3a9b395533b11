"""Sizes of files, types and style of the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_SOURCES = sorted(_ROOT.glob("fxpasses/**/*.py"))
_PYTHON = sys.executable


def _relative(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


def test_files_are_short() -> None:
    files = [*_SOURCES, *_ROOT.glob("benchmarks/**/*.py")]  # tables of test cases may be longer
    lengths = {_relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_only_what_is_agreed_is_at_the_top() -> None:
    listed = _run("git", "ls-files").stdout.splitlines()
    if not listed:
        pytest.skip("not a git checkout")
    top = {name.partition("/")[0] for name in listed}
    assert {name for name in top if not name.startswith(".")} == {
        "README.md", "benchmarks", "fxpasses", "pyproject.toml", "tests",
    } & {name for name in top if not name.startswith(".")}  # fmt: skip


def test_no_assert_for_a_users_mistake() -> None:
    found = [
        f"{_relative(path)}:{node.lineno}"
        for path in _SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_every_ignored_type_error_names_its_rule() -> None:
    lines = [(path, line) for path in _SOURCES for line in path.read_text(encoding="utf-8").splitlines()]
    for mark in ("# type: ignore", "# pyright: ignore"):
        bare = [(_relative(path), line) for path, line in lines if mark in line and f"{mark}[" not in line]
        assert bare == []


def test_ruff_finds_nothing() -> None:
    for command in (["check"], ["format", "--check"]):
        result = _run(_PYTHON, "-m", "ruff", *command, "fxpasses", "tests", "benchmarks")
        assert result.returncode == 0, result.stdout + result.stderr


def test_pyright_finds_nothing() -> None:
    result = _run(_PYTHON, "-m", "pyright", "--pythonpath", _PYTHON)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
