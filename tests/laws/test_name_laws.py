"""The laws of names, over generated models. The oracles: torchvision's own names, and the paths of the model's modules."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.examples import OddNames
from support.generated import Prepared, captured_anew, named_capture, names, own_capture, small_cases
from support.oracle import Calls
from torch import fx, nn
from torchvision.models import feature_extraction as torchvision_extraction

from fxpasses import create_feature_extractor, get_graph_node_names
from fxpasses.capture import capture_symbolic
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes, buffer_expressions
from fxpasses.testing import Case, SharedRun

NEW = "renamed"
over_cases = SharedRun(small_cases, st.data())


@over_cases.law
def test_every_node_has_a_name_and_no_two_the_same(case: Case) -> None:
    found = names(named_capture(case))
    assert len(set(found)) == len(found)


@over_cases.law
def test_names_are_the_same_each_time(case: Case) -> None:
    assert names(captured_anew(case)) == names(named_capture(case))


@over_cases.law
def test_naming_again_changes_nothing(case: Case) -> None:
    captured = own_capture(case)
    before = names(captured)
    assert not NameNodes()(captured).modified
    assert names(captured) == before


@over_cases.law
def test_the_first_call_of_a_module_is_called_by_its_path(case: Case) -> None:
    prepared = Prepared.of(case)
    captured = named_capture(case)
    leaves = {
        str(node.target): qualified_name(node) for node in reversed(captured.graph.nodes) if node.op == "call_module"
    }
    assert leaves == {path: path for path in leaves}
    values = NamedValues(captured)
    for path in Calls(prepared.module, *prepared.args, **prepared.kwargs).returned:
        assert not path or path in values, path


@over_cases.law
def test_an_operations_name_is_its_parents_path_and_a_word(case: Case) -> None:
    captured = named_capture(case)
    modules = {path for path, _ in captured.meta["fxpasses"].model.named_modules()}
    for node in captured.graph.nodes:
        if node.op in ("call_function", "call_method"):
            parent, _, word = str(qualified_name(node)).rpartition(".")
            assert parent in modules
            around = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            assert parent == (around[-1] if around else "")
            assert re.fullmatch(r"\w+", word)


@over_cases.law
def test_names_are_torchvisions_but_for_what_it_gets_wrong(case: Case) -> None:
    """Torchvision's own names, in its style; in the exact style where no name ends in a number of the user's."""
    module = Prepared.of(case).module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tracer = torchvision_extraction.NodePathTracer()
            tracer.trace(Prepared.of(case).module)
    except (ValueError, fx.proxy.TraceError):
        return  # it stumbles over its own regular expressions, or over the model
    expected = list(tracer.node_to_qualname.values())
    captured = capture_symbolic(module, training=case.training)
    folded = buffer_expressions(captured)
    ours = NameNodes("torchvision")(captured).graph_module
    known = [qualified_name(node) for node in ours.graph.nodes if node not in folded and node.op != "output"]
    assert known == expected


@over_cases.law
def test_an_unrelated_module_changes_no_name(case: Case) -> None:
    plain = capture_symbolic(Prepared.of(case).module, training=case.training)
    crowded = capture_symbolic(Prepared.of(case).module, training=case.training)
    first = next(node for node in crowded.graph.nodes if node.op != "placeholder")
    with crowded.graph.inserting_before(first):
        for function in (torch.add, torch.relu, torch.mul, torch.relu):
            node = crowded.graph.call_function(function, (1, 2))
            node.meta["nn_module_stack"] = OrderedDict({"": ("", nn.Module), "unrelated": ("unrelated", nn.Module)})
    found = names(NameNodes()(crowded).graph_module)
    assert [name for name in found if not name.startswith("unrelated.")] == names(NameNodes()(plain).graph_module)


def _renamed(case: Case, old: str) -> Case:
    """The same model, with another name for one attribute of its outermost class."""
    head, body = case.source.split("class Model(nn.Module):")
    body = re.sub(rf"(self[.]|get_submodule\('){old}\b", rf"\g<1>{NEW}", body)
    return Case(f"{head}class Model(nn.Module):{body}")


def _own_modules(case: Case) -> list[str]:
    """The children of the outermost class that are called by name, and have one that no operation and no later call has."""
    body = case.source.split("class Model(nn.Module):")[1]
    found = re.findall(r"^        self\.(\w+) = (?:nn\.|Block)", body, re.MULTILINE)
    nodes = named_capture(case).graph.nodes
    modules = {str(node.target).rpartition(".")[2] for node in nodes if node.op == "call_module"}
    others = [node.target for node in nodes if node.op != "call_module"]
    words = {str(target).rpartition(".")[2] for target in others} | {getattr(each, "__name__", "") for each in others}
    stems = {word.rstrip("_") for word in words}
    return [
        name
        for name in found
        if name.rstrip("_0123456789") not in stems | {word.rstrip("_") for word in modules - {name}}
        and not any(re.fullmatch(rf"{name}_\d+", attribute) for attribute in _attributes(case.module))
    ]


def _attributes(module: nn.Module) -> set[str]:
    return {*module._modules, *module._parameters, *module._buffers}


def _expected(node: fx.Node, name: str, old: str) -> str:
    """What a node is called once its model's `old` is `NEW`."""
    first, *rest = name.split(".")
    if first == old or (node.op == "call_module" and node.target == old):
        first = NEW + first[len(old) :]
    parts = [first, *rest]
    if node.op == "get_attr" and str(node.target).startswith(f"{old}."):
        # A parameter of a layer that another module reads is called by the way to it.
        parts[-1] = re.sub(rf"^{old}_", f"{NEW}_", parts[-1])
    return ".".join(parts)


@over_cases.law
def test_another_name_for_an_attribute_renames_what_is_below_it_and_nothing_else(
    case: Case, data: st.DataObject
) -> None:
    candidates = _own_modules(case)
    assume(candidates)
    old = data.draw(st.sampled_from(candidates))
    before, after = named_capture(case), captured_anew(_renamed(case, old))
    nodes = [node for node in before.graph.nodes if node.op != "output"]
    assert names(after) == [_expected(node, qualified_name(node) or "", old) for node in nodes]


def _calls(graph_module: fx.GraphModule) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            found.setdefault(str(node.target), []).append(str(qualified_name(node)))
    return found


@over_cases.law
def test_the_calls_of_a_module_count_up_and_no_other_value_has_a_modules_name(case: Case) -> None:
    captured = named_capture(case)
    paths = {path for path, _ in captured.meta["fxpasses"].model.named_modules() if path}
    for path, called in _calls(captured).items():
        assert called[0] == path
        numbers = [int(name.removeprefix(f"{path}_")) for name in called[1:]]
        assert numbers == sorted(set(numbers))
    called_paths = {call.path for call in captured.meta["fxpasses"].calls}
    others = {qualified_name(node) for node in captured.graph.nodes if node.op in ("call_function", "call_method")}
    assert not others & paths & called_paths


@over_cases.law
def test_each_name_stands_for_one_value_of_its_own(case: Case) -> None:
    captured = named_capture(case)
    values = NamedValues(captured)
    found: dict[Any, str] = {}
    for node in captured.graph.nodes:
        if node.op == "output":
            continue
        name = str(qualified_name(node))
        assert name in values
        if node.op not in ("call_module", "placeholder", "get_attr") and values.moment(name) is None:
            assert values.value(name) is node, name
            assert found.setdefault(node, name) == name


@over_cases.law
def test_names_do_not_depend_on_the_mode_where_both_modes_run_the_same(case: Case) -> None:
    texts: list[list[str]] = []
    for training in (True, False):
        captured = captured_anew(Case(case.source + f"\nmodule.train({training})\n"))
        texts.append([f"{node.op} {node.target}" for node in captured.graph.nodes] + names(captured))
    half = len(texts[0]) // 2
    assume(texts[0][:half] == texts[1][:half])
    assert texts[0] == texts[1]


_module_names = st.text(min_size=1, max_size=6).filter(
    lambda text: "." not in text and not hasattr(nn.Sequential(), text)
)


@given(st.lists(_module_names, min_size=1, max_size=5, unique=True))
@example(["conv_1", "conv_2", "conv"])
@example(["input", "input_1"])
@example(["a_b", "(", "b+c", "[0", "\\d", "größe", " "])
@example(list(OddNames.NAMES))
@example(["ª", "a", "a_"])
@example(["class", "in", "graph", "code", "output", "in_"])
def test_every_legal_name_of_a_module_is_kept(chosen: list[str]) -> None:
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in chosen))
    found = get_graph_node_names(model, mode="eval")
    assert found[1:] == chosen
    features = create_feature_extractor(model, chosen)(torch.ones(1, 2))
    value = torch.ones(1, 2)
    for name in chosen:
        value = getattr(model, name)(value)
        assert torch.equal(features[name], value)


@pytest.mark.parametrize("length", [100, 1000])
def test_a_chain_of_the_same_operation_counts_up(length: int) -> None:
    class Chain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(length):
                x = torch.relu(x)
            return x

    assert get_graph_node_names(Chain(), mode="eval") == ["x", "relu", *(f"relu_{count}" for count in range(1, length))]
