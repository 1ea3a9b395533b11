"""Laws of names that compare two models: one, and one that differs from it in a known way."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from support.generated import captured_anew, named_capture, names, small_cases
from torch import fx

from fxpasses.graph.meta import qualified_name
from fxpasses.graph.values import NamedValues
from fxpasses.testing import Case, SharedRun

NEW = "renamed"
over_cases = SharedRun(small_cases, st.data())


def _renamed(case: Case, old: str) -> Case:
    """The same model, with another name for one attribute of its outermost class."""
    head, body = case.source.split("class Model(nn.Module):")
    body = re.sub(rf"(self[.]|get_submodule\('){old}\b", rf"\g<1>{NEW}", body)
    return Case(f"{head}class Model(nn.Module):{body}")


def _own_modules(case: Case) -> list[str]:
    """The children of the outermost class that are called by name, and have one that no operation has."""
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
    ]


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
