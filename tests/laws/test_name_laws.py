"""The laws of names, over generated models. The oracles: torchvision's own names, and the paths of the model's modules."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict

import pytest
import torch
from hypothesis import example, given
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

over_cases = SharedRun(small_cases)


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
