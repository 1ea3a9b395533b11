from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import metadata

import pytest

from fxpasses.cli import main
from fxpasses.cli.commands import COMMANDS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("names", "resnet51"), "Near names: resnet50"),
        (("names", "!"), "torchvision has no model '!'. A model of your own"),
        (("names", "tiny_models:Tinny"), "tiny_models has no 'Tinny'. Near names: Tiny"),
        (("names", "tiny_models:number"), "neither is an nn.Module nor makes one"),
        (("names", "absent_module:Tiny"), "no Python module 'absent_module'"),
        (("names", "raft_small"), "cannot be traced"),
        (("run", "name-node", "tiny_models:Tiny"), "Did you mean name-nodes"),
        (("run", "prune-to-outputs{conv=c}", "tiny_models:Tiny"), "needs the fact 'names'"),
        (("run", "name-nodes, prune-to-outputs{conw=c}", "tiny_models:Tiny"), "'conv'"),
        (("names", "alexnet", "--leaf", "Conv3d"), "Conv2d"),
        (("extract", "tiny_models:Tiny", "convv"), "Near names: 'conv'"),
        (("extract", "tiny_models:Tiny", "convv"), "fxpasses names tiny_models:Tiny --mode both"),
        (
            ("extract", "tiny_models:Failing", "matmul", "--size", "8"),
            "raised RuntimeError on an input of shape 1x3x8x8",
        ),
        (("extract", "tiny_models:Tiny", "conv", "--image", "absent.jpg"), "absent.jpg"),
        (("extract", "tiny_models:Tiny", "conv", "--image", "tiny_models.py"), "Formats: BMP"),
        (("extract", "tiny_models:Tiny", "conv", "--size", "8", "--out", "absent/f.safetensors"), "absent/f"),
        (("extract", "tiny_models:Tiny", "conv", "--size", "8", "--out", "f.pth"), "f.pth"),
        (("extract", "alexnet", "features", "--weights", "NEWEST"), "alexnet has IMAGENET1K_V1"),
        (("extract", "tiny_models:Tiny", "conv", "--size", "8", "--input", "1,3,8,8"), "leave out --image and --size"),
        (("names", "raft_small"), "fxpasses doctor raft_small tries every capture"),
        (("names", "alexnet", "--capture", "values"), "needs example inputs: pass example_inputs=(…,)"),
        (("names", "tiny_models:Tiny", "--input", "3", "--input", "4", "--input", "5"), "do not fit Tiny.forward"),
        (("doctor", "resnet51"), "Near names: resnet50"),
    ],
)
def test_a_mistake_gets_a_message_and_exit_code_2(fail, arguments, expected):
    assert expected in fail(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("shrink", "alexnet"),
        ("extract", "alexnet"),
        ("extract", "a", "b", "--size", "0"),
        ("names", "a", "--capture", "dynamo"),
        ("doctor", "a", "--input", "1,x"),
    ],
)
def test_a_usage_error_exits_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: fxpasses" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys; from fxpasses.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "extract" in output


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, f"{metadata.version('fxpasses')}\n")


def test_a_reader_that_stops_early_is_no_error():
    code = """
import sys, types
commands = types.SimpleNamespace(COMMANDS={"names": lambda arguments: print("x" * 1_000_000)})
sys.modules["fxpasses.cli.commands"] = commands
from fxpasses.cli import main
sys.exit(main(["names", "alexnet"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_warnings_are_one_line_each(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "names", lambda _: warnings.warn("mind the gap", UserWarning, stacklevel=2))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["names", "alexnet"]) == 0
    assert capsys.readouterr().err == "fxpasses: UserWarning: mind the gap\n"
