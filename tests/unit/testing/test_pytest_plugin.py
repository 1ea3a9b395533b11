from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import torch
from fxpasses import testing as fxt
from planted.wrong_passes import PLANTED

TestRight = fxt.pass_suite(lambda graph_module: None, laws=[fxt.WellFormed()])
TestWrong = fxt.pass_suite(PLANTED["return_one_value_twice"].pass_, laws=[fxt.Equivalent()])
"""


def test_the_plugin_imports_neither_torch_nor_hypothesis() -> None:
    code = "import sys, fxpasses.testing.pytest_plugin; print([name for name in ('torch', 'hypothesis') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "test_it.py").write_text(TEST)
    (folder / "conftest.py").write_text("")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "fxpasses.testing.pytest_plugin",
        "--rootdir",
        str(folder),
    ]
    command += ["--fxpasses-profile", "quick", "--fxpasses-save-repro", str(folder / "repro"), "test_it.py"]
    root = Path(__file__).parents[3]
    path = f"{root}:{root / 'tests'}"
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path, "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    return done.stdout + done.stderr, folder


def test_a_section_of_the_report_says_what_the_laws_looked_at(report: tuple[str, Path]) -> None:
    text, _ = report
    assert "laws of graph passes" in text
    assert "WellFormed: interpreted 50, verified 50" in text


def test_failures_are_saved_in_the_folder(report: tuple[str, Path]) -> None:
    text, folder = report
    assert "1 failed, 1 passed" in text
    saved = folder / "repro" / "return_one_value_twice_equivalent.py"
    assert saved.is_file()
    assert str(saved) in text.replace("\n", "")
