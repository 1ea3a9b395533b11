from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fxpasses.cli import main

MODELS = """
import torch
from torch import nn
from torch.nn import functional as F


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.norm(self.conv(x))
        if self.training:
            y = F.dropout(y, 0.5, training=True)
        return {"pair": (y, y > 0)}


class Failing(nn.Module):
    def forward(self, x):
        return x @ torch.ones(7, 7)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids, parts=(), mask=None):
        found = self.table(ids)
        if mask is not None and mask.shape[1] == ids.shape[1]:
            found = found * mask[..., None]
        return torch.cat([found, *parts], 1) if len(parts) else found


class DecidesOnData(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


made = nn.ReLU()
number = 3


def make():
    return Tiny()


def broken():
    raise ZeroDivisionError("the factory's own mistake")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of models, in which the shell runs."""
    (tmp_path / "tiny_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("tiny_models", None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs the shell and returns its output."""

    def run(*arguments: str) -> str:
        assert main(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs the shell, which refuses, and returns its message."""

    def fail(*arguments: str) -> str:
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        return output.err

    return fail
