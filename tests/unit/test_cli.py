from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import fxpasses
from fxpasses.cli import main
from fxpasses.cli.commands import COMMANDS
from fxpasses.cli.models import find_leaf_modules, find_model
from fxpasses.cli.output import print_table
from fxpasses.errors import MissingExtraError

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


# names


def test_names_are_those_of_the_function(run):
    model = torchvision.models.resnet18()
    assert run("names", "resnet18").split() == fxpasses.get_graph_node_names(model, mode="eval")


def test_names_of_both_modes_say_which(run):
    lines = [line.split(maxsplit=1) for line in run("names", "tiny_models:Tiny", "--mode", "both").splitlines()]
    assert lines == [
        ["name", "modes"],
        ["x", "train, eval"],
        ["conv", "train, eval"],
        ["norm", "train, eval"],
        ["dropout", "train"],
        ["gt", "train, eval"],
    ]


@pytest.mark.parametrize("mode", ["train", "eval", "current"])
def test_names_as_json(run, mode):
    names = fxpasses.get_graph_node_names(find_model("tiny_models:Tiny"), mode=mode)
    assert json.loads(run("names", "tiny_models:Tiny", "--mode", mode, "--json")) == {mode: names}


def test_a_leaf_is_found_by_its_bare_and_its_full_name(run):
    expected = ["x", "conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1"]
    for leaf in ("BasicBlock", "torchvision.models.resnet.BasicBlock"):
        assert run("names", "resnet18", "--leaf", leaf).split()[:7] == expected


def test_several_leaves(run):
    names = run("names", "resnet18", "--leaf", "BasicBlock", "--leaf", "Sequential").split()
    assert names[4:9] == ["maxpool", "layer1", "layer2", "layer3", "layer4"]


def test_two_classes_of_one_bare_name_are_both_leaves():
    first, second = (type("Block", (nn.Module,), {"__module__": name}) for name in ("a", "b"))
    assert set(find_leaf_modules(nn.Sequential(first(), second()), ["Block"])) == {first, second}


# diff


def test_diff_of_equal_modes_says_so(run):
    assert run("diff", "alexnet") == "train and eval mode compute the same graph\n"


def test_diff_lists_each_node_that_differs(run):
    table = run("diff", "tiny_models:Tiny").splitlines()
    assert table[0].split() == ["name", "status", "train", "eval"]
    assert table[1].startswith("dropout  only in train")
    changes = json.loads(run("diff", "tiny_models:Tiny", "--json"))
    assert (changes[0]["name"], changes[0]["status"]) == ("dropout", "only in train")
    assert len(changes) == len(table) - 1


# extract


def test_extract_describes_each_value(run):
    report = json.loads(run("extract", "tiny_models:Tiny", "conv", "gt", "--size", "2,3,5,6", "--seed", "7", "--json"))
    torch.manual_seed(7)
    model = find_model("tiny_models:Tiny").eval()
    with torch.no_grad():
        conv = model.conv(torch.randn(2, 3, 5, 6))
        positive = model.norm(conv) > 0
    assert report["input_size"] == [2, 3, 5, 6]
    assert report["features"] == [
        {
            "name": "conv",
            "shape": [2, 4, 3, 4],
            "dtype": "float32",
            "mean": conv.double().mean().item(),
            "std": conv.double().std(correction=0).item(),
        },
        {
            "name": "gt",
            "shape": [2, 4, 3, 4],
            "dtype": "bool",
            "mean": positive.double().mean().item(),
            "std": positive.double().std(correction=0).item(),
        },
    ]


def test_extract_prints_a_table(run):
    lines = run("extract", "tiny_models:Tiny", "conv", "x", "--size", "8").splitlines()
    assert lines[0].split() == ["name", "shape", "dtype", "mean", "std"]
    assert [line.split()[:3] for line in lines[1:]] == [["conv", "1x4x6x6", "float32"], ["x", "1x3x8x8", "float32"]]


def test_extract_writes_the_values(run):
    run("extract", "tiny_models:Tiny", "conv", "norm", "--size", "8", "--out", "features.safetensors")
    features = load_file("features.safetensors")
    torch.manual_seed(0)
    model = find_model("tiny_models:Tiny").eval()
    conv = model.conv(torch.randn(1, 3, 8, 8))
    assert features.keys() == {"conv", "norm"}
    assert torch.equal(features["conv"], conv)
    assert torch.equal(features["norm"], model.norm(conv))


def test_a_value_of_one_mode_is_extracted_in_that_mode(run, fail):
    assert "dropout" in run("extract", "tiny_models:Tiny", "dropout", "--mode", "train", "--size", "8")
    assert "only in train mode" in fail("extract", "tiny_models:Tiny", "dropout", "--size", "8")


def test_the_parts_of_a_value_have_their_own_rows(run):
    table = run("extract", "googlenet", "inception3a", "aux1", "--mode", "train", "--size", "2,3,64,64")
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [["inception3a", "2x256x8x8"], ["aux1", "2x1000"]]


def test_an_image_is_resized_cropped_and_normalized(run):
    Image.new("RGB", (30, 20), (255, 0, 0)).save("red.png")
    report = json.loads(run("extract", "tiny_models:Tiny", "x", "--image", "red.png", "--size", "8", "--json"))
    red, green, blue = (1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225
    assert report["features"][0]["shape"] == [1, 3, 8, 8]
    assert math.isclose(report["features"][0]["mean"], (red + green + blue) / 3, rel_tol=1e-6)


def test_weights_from_a_file(run, fail):
    model = find_model("tiny_models:Tiny")
    nn.init.constant_(model.conv.weight, 0.0)
    nn.init.constant_(model.conv.bias, 5.0)
    save_file(model.state_dict(), "tiny.safetensors")
    arguments = ("extract", "tiny_models:Tiny", "conv", "--size", "8", "--weights")
    feature = json.loads(run(*arguments, "tiny.safetensors", "--json"))["features"][0]
    assert (feature["mean"], feature["std"]) == (5.0, 0.0)
    assert "Pickles are not loaded" in fail(*arguments, "tiny.pth")
    assert "absent.safetensors" in fail(*arguments, "absent.safetensors")
    save_file({"other": torch.ones(1)}, "other.safetensors")
    assert "conv.weight" in fail(*arguments, "other.safetensors")
    Path("broken.safetensors").write_bytes(b"\0" * 20)
    assert "broken.safetensors" in fail(*arguments, "broken.safetensors")


def test_weights_of_torchvision_come_with_their_preprocessing(here, run, monkeypatch):
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    checkpoints = here / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(here))
    model = torchvision.models.squeezenet1_1().eval()
    torch.save(model.state_dict(), checkpoints / Path(weights.url).name)
    Image.radial_gradient("L").resize((300, 260)).save("photo.png")
    run(
        "extract",
        "squeezenet1_1",
        "features.3",
        "--weights",
        "DEFAULT",
        "--image",
        "photo.png",
        "--out",
        "f.safetensors",
    )
    image = weights.transforms()(Image.open("photo.png").convert("RGB")).unsqueeze(0)
    assert torch.equal(load_file("f.safetensors")["features.3"], model.features[:4](image))


def test_a_checkpoint_that_holds_code_is_not_loaded(here, monkeypatch):
    checkpoints = here / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(here))
    file = checkpoints / Path(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url).name
    torch.save({"model": nn.Linear(1, 1)}, file)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        main(["extract", "squeezenet1_1", "features", "--weights", "DEFAULT"])


# draw


def test_draw_json_is_what_networkx_reads(run):
    import networkx as nx

    run("draw", "tiny_models:Tiny", "--out", "tiny.json")
    graph = nx.node_link_graph(json.loads(Path("tiny.json").read_text()))
    assert graph.nodes["dropout"]["status"] == "only in train"
    assert graph.nodes["conv"]["status"] == "same"


def test_draw_the_part_that_a_value_needs(run):
    run("draw", "tiny_models:Tiny", "conv", "--out", "conv.dot")
    drawing = Path("conv.dot").read_text()
    assert [name for name in ("x", "conv", "norm", "dropout") if f'"{name}\\n' in drawing] == ["x", "conv"]


def test_draw_needs_a_known_suffix(fail):
    assert ".dot" in fail("draw", "tiny_models:Tiny", "--out", "tiny.png")


# run


def test_run_reports_what_each_pass_did(run):
    pipeline = "name-nodes, prune-to-outputs{conv=c}"
    report = [line.split() for line in run("run", pipeline, "tiny_models:Tiny", "--mode", "train").splitlines()]
    assert report[0] == ["pass", "ms", "added", "removed", "replaced", "edited"]
    assert [(row[0], row[3]) for row in report[1:]] == [
        ("pipeline", "3"),
        ("name-nodes", "0"),
        ("prune-to-outputs", "3"),
    ]
    tree = json.loads(run("run", pipeline, "tiny_models:Tiny", "--json"))
    assert [child["removed"] for child in tree["children"]] == [0, 2]


def test_run_prints_the_code(run):
    code = run("run", "name-nodes, prune-to-outputs{conv=c}", "tiny_models:Tiny", "--code")
    assert "return {'c': conv}" in code
    assert "norm" not in code


# what is asked wrongly


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
    ],
)
def test_a_mistake_gets_a_message_and_exit_code_2(fail, arguments, expected):
    assert expected in fail(*arguments)


@pytest.mark.parametrize(
    "arguments", [(), ("shrink", "alexnet"), ("extract", "alexnet"), ("extract", "a", "b", "--size", "0")]
)
def test_a_usage_error_exits_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: fxpasses" in capsys.readouterr().err


def test_a_mistake_inside_the_users_code_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="the factory's own mistake"):
        main(["names", "tiny_models:broken"])


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("PIL", ("--image", "red.png")), ("safetensors", ("--out", "f.safetensors"))],
)
def test_a_missing_extra_is_named_with_its_remedy(fail, monkeypatch, missing, arguments):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert 'pip install "fxpasses[cli]"' in fail("extract", "tiny_models:Tiny", "conv", "--size", "8", *arguments)


def test_a_missing_extra_is_an_import_error():
    assert issubclass(MissingExtraError, ImportError)


# tables


def test_a_terminal_gets_the_columns_too(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    print_table(("name", "shape"), [("a[0]", "1x3")])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if "a" in line] == [
        ["name", "shape"],
        ["a[0]", "1x3"],
    ]


def test_a_terminal_without_rich_gets_plain_text(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table(("name", "shape"), [("x", "1x3")])
    assert capsys.readouterr().out == "name  shape\nx     1x3\n"


# the process


def test_help_needs_no_torch():
    code = (
        "import sys; from fxpasses.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "extract" in output


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
