"""Claim: blame names the wrong pass every time, and reduces the graph to at most 5 operators in 18 of 20 cases.

    python benchmarks/claim_blame_names_the_wrong_pass.py [NAME ...]

Passes with a bug are planted among correct ones in a pipeline over three models of torchvision.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import planted_passes as planted
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchvision.models import mobilenet_v3_small, resnet18, swin_t

from fxpasses.manager import Pass, PassManager, blame

Case = tuple[Callable[[], nn.Module], Pass]


class Noisy(nn.Module):
    """A model between random operations, with several outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Adds noise before and after."""
        before, after = torch.rand_like(x), torch.rand_like(x)
        result = self.model(x + before)
        return result, x * after, result.exp()


class Joined(nn.Module):
    """Two heads on a model, joined."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Joins the result with a function of it."""
        result = self.model(x)
        return torch.cat([result, result.sigmoid()], dim=1)


class Writes(nn.Module):
    """A model whose input is written in place by an operation whose result nobody uses."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Writes, then runs."""
        y = x * 2
        torch.relu_(y)
        return self.model(y)


def _resnet() -> nn.Module:
    return resnet18(weights=None).eval()


def _mobilenet() -> nn.Module:
    return mobilenet_v3_small(weights=None).eval()


def _swin() -> nn.Module:
    return swin_t(weights=None).eval()


CASES: list[Case] = [
    (lambda: Joined(_swin()), planted.SwapsArguments()),
    (_swin, planted.WrongConstant()),
    (_mobilenet, planted.WrongKeyword()),
    (_resnet, planted.DropsWrite()),
    (lambda: Writes(_resnet()), planted.DropsLiveCode()),
    (lambda: Noisy(_mobilenet()), planted.LosesOutput()),
    (lambda: Noisy(_resnet()), planted.SwapsOutputs()),
    (lambda: Noisy(_swin()), planted.ReordersRandom()),
    (_resnet, planted.StaleMeta()),
    (_swin, planted.ForgetsMetaOfANewOperation()),
    (_mobilenet, planted.UnknownKeyword()),
    (_resnet, planted.EmptiesUsers()),
    (_mobilenet, planted.MovesAfterUse()),
    (_resnet, planted.Raises()),
    (_mobilenet, planted.WrongModule()),
    (_resnet, planted.DropsResidual()),
    (_mobilenet, planted.WrongActivation()),
    (_mobilenet, planted.LosesPrecision()),
    (lambda: Noisy(_swin()), planted.MergesTooMuch()),
    (_resnet, planted.FoldsWithoutEpsilon()),
    (_swin, planted.ReinitialisesParameters()),
]


def main(names: list[str]) -> None:
    """Runs the cases, prints a row each, and checks the claim."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = [(index, case) for index, case in enumerate(CASES) if not names or type(case[1]).__name__ in names]
    small = named = shown = 0
    for index, (make, wrong) in cases:
        started = time.perf_counter()
        is_named, operations, is_shown, text = run(index, make, wrong)
        seconds = time.perf_counter() - started
        named, small, shown = named + is_named, small + (operations <= 5), shown + is_shown
        print(f"{type(wrong).__name__:28} named {is_named!s:5} operators {operations:3} file shows it {is_shown!s:5} "
              f"{seconds:6.1f} s  {text}", flush=True)  # fmt: skip
    print(f"named {named}, at most 5 operators {small}, file shows it {shown}, of {len(cases)}")
    if named < len(cases) or small < len(cases) * 18 / 20:
        raise SystemExit("the claim does not hold")


def run(index: int, make: Callable[[], nn.Module], wrong: Pass) -> tuple[bool, int, bool, str]:
    """Plants one pass in a pipeline, and blames."""
    torch.manual_seed(0)
    model = make()
    graph_module = fx.symbolic_trace(model)
    inputs = [torch.randn(2, 3, 64, 64)]
    ShapeProp(graph_module).propagate(*inputs)
    place = index % (len(planted.GOOD) + 1)
    passes: list[Pass] = [*planted.GOOD[:place], wrong, *planted.GOOD[place:]]
    if isinstance(wrong, planted.DropsWrite):
        passes = [wrong, *planted.GOOD]  # before the pass that turns these modules into functions
        place = 0
    found = blame(PassManager(passes), graph_module, inputs)
    if found is None:
        return False, 0, False, "nothing found"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "reproducer.py"
        found.write(path)
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", str(path)],
            capture_output=True, text=True, check=False, env={"PYTHONPATH": str(Path(__file__).parent)},
        )  # fmt: skip
    is_shown = ran.returncode == 1 and "expected:" in ran.stdout
    return found.position == (place,), found.operations, is_shown, found.wrong.text[:70]


if __name__ == "__main__":
    main(sys.argv[1:])
