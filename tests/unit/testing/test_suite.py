from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from unittest import SkipTest

import pytest
from hypothesis import settings
from planted.right_passes import RIGHT
from planted.wrong_passes import PLANTED
from torch import fx

from fxpasses import testing as fxt
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing.repro import Folder

FEW = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "path", tmp_path)


TestRightPass = fxt.pass_suite(
    RIGHT["spell_relu_as_a_function"],
    laws=[fxt.WellFormed(), fxt.HonestFlag(), fxt.Idempotent()],
    settings=FEW,
)


def test_a_suite_has_a_test_for_each_law_and_the_law_as_its_documentation() -> None:
    suite = fxt.pass_suite(RIGHT["do_nothing"])
    tests = {name: test for name, test in vars(suite).items() if name.startswith("test_")}
    assert len(tests) == len(fxt.DEFAULT_LAWS)
    assert (
        tests["test_idempotent"].__doc__
        == "Running the pass on its own result changes nothing, and the second run says so."
    )
    assert suite.__name__ == "Testdo_nothing"


@pytest.fixture
def _deadline():
    """A profile with hypothesis's own deadline, as whoever chooses none has."""
    usual = settings.get_current_profile_name()
    settings.register_profile("deadline", FEW, deadline=200)
    settings.load_profile("deadline")
    yield
    settings.load_profile(usual)


@pytest.mark.usefixtures("_deadline")
def test_a_slow_example_is_no_failure() -> None:
    def sleep_once(graph_module: fx.GraphModule, slept: list[bool] = []) -> None:  # noqa: B006 - remembers on purpose
        if not slept:
            slept.append(True)
            time.sleep(0.3)

    fxt.pass_suite(sleep_once, laws=[fxt.WellFormed()])().test_well_formed()


def test_a_law_about_a_claim_is_skipped_where_nothing_is_claimed() -> None:
    suite = fxt.pass_suite(lambda graph_module: None, laws=[fxt.HonestFlag()], settings=settings(FEW, max_examples=2))
    with pytest.raises(SkipTest, match="claims nothing"):
        suite().test_honest_flag()


def test_claims_choose_the_laws() -> None:
    names = [law.name for law in fxt.laws_for(NameNodes())]
    assert {"InPlace", "KeepsFacts", "OutputsAsClaimed", "Equivalent"} <= set(names)

    class Subset(NameNodes):
        outputs_claim = "subset"

    assert "Equivalent" not in [law.name for law in fxt.laws_for(Subset())]


def test_a_broken_law_fails_its_test_with_the_smallest_model() -> None:
    wrong = PLANTED["swap_arguments_of_sub"]
    suite = fxt.pass_suite(wrong.pass_, laws=[wrong.law], settings=settings(FEW, max_examples=200))
    with pytest.raises(fxt.EquivalentViolation) as caught:
        suite().test_equivalent()
    message = str(caught.value)
    model = message[message.index("class Model") : message.index("torch.manual_seed")]
    assert len([line for line in model.splitlines() if "=" in line]) <= 4


def test_a_law_that_never_looks_at_anything_fails() -> None:
    class Blind(fxt.HonestFlag):
        def check(self, trial: fxt.Trial) -> None:
            return

    suite = fxt.pass_suite(RIGHT["do_nothing"], laws=[Blind()], settings=FEW)
    with pytest.raises(fxt.VacuousLawError, match="Blind was not broken, and never looked at: judged"):
        suite().test_blind()
    fxt.pass_suite(RIGHT["do_nothing"], laws=[Blind()], settings=FEW, vacuous={"Blind": ["judged"]})().test_blind()


def test_hypothesis_is_asked_for_where_it_is_missing() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from fxpasses import testing\n"
        "from fxpasses.errors import MissingExtraError\n"
        "testing.check_pass(lambda gm: None, testing.Case('import torch\\nmodule = torch.nn.ReLU()\\nargs = (torch.ones(1),)\\nkwargs = {}'))\n"
        "for action in (lambda: testing.pass_suite(print), lambda: testing.strategies):\n"
        "    try:\n        action()\n    except MissingExtraError as error:\n        assert 'fxpasses[testing]' in str(error)\n"
        "    else:\n        raise SystemExit('no error')\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
