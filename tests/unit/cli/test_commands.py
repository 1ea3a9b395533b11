from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest
import torch
import torchvision
from safetensors.torch import load_file

import fxpasses
from fxpasses.cli.models import find_model


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


def test_diff_of_equal_modes_says_so(run):
    assert run("diff", "alexnet") == "train and eval mode compute the same graph\n"


def test_diff_lists_each_node_that_differs(run):
    table = run("diff", "tiny_models:Tiny").splitlines()
    assert table[0].split() == ["name", "status", "train", "eval"]
    assert table[1].startswith("dropout  only in train")
    changes = json.loads(run("diff", "tiny_models:Tiny", "--json"))
    assert (changes[0]["name"], changes[0]["status"]) == ("dropout", "only in train")
    assert len(changes) == len(table) - 1


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


def test_draw_json_is_what_networkx_reads(run):
    run("draw", "tiny_models:Tiny", "--out", "tiny.json")
    graph = nx.node_link_graph(json.loads(Path("tiny.json").read_text()), edges="edges")
    assert graph.nodes["dropout"]["status"] == "only in train"
    assert graph.nodes["conv"]["status"] == "same"


def test_draw_the_part_that_a_value_needs(run):
    run("draw", "tiny_models:Tiny", "conv", "--out", "conv.dot")
    drawing = Path("conv.dot").read_text()
    assert [name for name in ("x", "conv", "norm", "dropout") if f'"{name}\\n' in drawing] == ["x", "conv"]


def test_draw_needs_a_known_suffix(fail):
    assert ".dot" in fail("draw", "tiny_models:Tiny", "--out", "tiny.png")


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


MASKED = ("tiny_models:Masked", "--input", "2,5:int64", "--input", "mask=2,5:bool")


def test_examples_answer_decisions_on_shapes(run, fail):
    assert "--input 1,3,224,224" in fail("names", "tiny_models:Masked", "--capture", "symbolic")
    assert run("names", *MASKED).split()[:3] == ["ids", "mask", "table"]
    assert run("diff", *MASKED) == "train and eval mode compute the same graph\n"
    assert "table" in run("run", "name-nodes", *MASKED, "--code")
    run("draw", MASKED[0], "table", *MASKED[1:], "--out", "table.json")
    assert "table" in Path("table.json").read_text()


@pytest.mark.parametrize("capture", ["auto", "values", "export"])
def test_extract_runs_on_the_examples(run, capture):
    report = json.loads(run("extract", *MASKED, "--capture", capture, "--json", "table"))
    assert report["input_size"] == [[2, 5], [2, 5]]
    assert report["features"][0]["shape"] == [2, 5, 4]


def test_a_list_of_tensors_is_an_example(run):
    parts = "parts=2,1,4+2,3,4"
    report = json.loads(run("extract", "tiny_models:Masked", "cat", "--input", "2,5:int64", "--input", parts, "--json"))
    assert report["features"][0]["shape"] == [2, 9, 4]


def test_extract_captures_with_the_input_that_it_runs_on(run):
    assert "conv" in run("extract", "tiny_models:Tiny", "conv", "--size", "8", "--capture", "values")


def test_doctor_tries_all_captures(run):
    lines = run("doctor", *MASKED).splitlines()
    assert lines[0].split() == ["capture", "mode", "seconds", "nodes", "modules", "result"]
    assert [line.split()[:2] for line in lines[1:7]] == [
        [capture, mode] for capture in ("symbolic", "values", "export") for mode in ("eval", "train")
    ]
    assert "tiny_models.py" in lines[1]
    assert [line.split()[-1] for line in lines[3:7]] == ["ok"] * 4
    assert lines[-1] == (
        "This works: create_feature_extractor(model, names, example_inputs=(torch.empty((2, 5), dtype=torch.int64),), "
        "example_kwargs={'mask': torch.empty((2, 5), dtype=torch.bool)})"
    )


def test_doctor_without_examples_of_a_model_from_elsewhere(run):
    assert "example_inputs=(…,)" in run("doctor", "tiny_models:Masked").splitlines()[-1]
    assert run("doctor", "tiny_models:Tiny").splitlines()[-1] == "This works: create_feature_extractor(model, names)"


def test_doctor_of_a_model_that_nothing_takes(run):
    report = run("doctor", "tiny_models:DecidesOnData", "--input", "3")
    assert "decides on data" in report
    assert report.splitlines()[-1].startswith("No capture takes the model")


def test_doctor_as_json(run):
    report = json.loads(run("doctor", "tiny_models:Tiny", "--input", "1,3,8,8", "--leaf", "BatchNorm2d", "--json"))
    assert {trial["failure"] for trial in report["trials"]} == {None}
    assert [trial["modules"] for trial in report["trials"]] == [2] * 6
    assert report["call"] == "create_feature_extractor(model, names, leaf_modules=(BatchNorm2d,))"
