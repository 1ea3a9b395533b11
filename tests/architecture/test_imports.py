"""The import contracts of pyproject.toml, kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import cli

_ROOT = Path(__file__).parents[2]


def test_imports_point_down_and_passes_do_not_know_each_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(_ROOT))
    status = cli.lint_imports(config_filename=str(_ROOT / "pyproject.toml"), cache_dir=str(tmp_path))
    assert status == 0, capsys.readouterr().out


def test_importing_the_package_imports_no_torch() -> None:
    script = "import sys, fxpasses; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=_ROOT, check=False).returncode == 0


@pytest.mark.parametrize("part", ["testing", "hypothesis", "rich", "onnx", "torch._dynamo", "networkx"])
def test_the_extractor_imports_nothing_optional_and_nothing_slow(part: str) -> None:
    script = (
        "import sys, fxpasses; fxpasses.create_feature_extractor; fxpasses.PassManager\n"
        f"sys.exit({part!r} in sys.modules or 'fxpasses.{part}' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=_ROOT, check=False).returncode == 0
