from __future__ import annotations

import re
import string
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from support.mutations import copies_functionally, edits_meta, node
from torch import fx, nn

from fxpasses.errors import FalseClaimError
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.manager import ALL_FACTS, CheckClaims, Pass, PassManager, PassResult
from fxpasses.passes.name_nodes import NameNodes


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.cos(x)
        return torch.relu(x) * self.weight + torch.tanh(x)


def adds(graph_module: fx.GraphModule) -> None:
    with graph_module.graph.inserting_after(node(graph_module, "relu")):
        graph_module.graph.call_method("neg", (node(graph_module, "relu"),))


def removes(graph_module: fx.GraphModule) -> None:
    graph_module.graph.erase_node(node(graph_module, "cos"))


def edits(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").target = torch.sigmoid


def moves(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").prepend(node(graph_module, "tanh"))


def writes(graph_module: fx.GraphModule) -> None:
    with torch.no_grad():
        graph_module.weight.mul_(2)


def adds_a_module(graph_module: fx.GraphModule) -> None:
    graph_module.add_module("inner", fx.symbolic_trace(nn.ReLU()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([adds], "added neg"),
        ([removes], "removed cos"),
        ([edits], "edited relu.target"),
        ([moves], "moved tanh"),
        ([writes], "changed modules or tensors"),
        ([adds_a_module], "changed modules or tensors; graph of 'inner'"),
        ([adds, removes, edits, writes], "added neg; removed cos; edited relu.target; changed modules or tensors"),
    ],
)
def test_whoever_denies_a_change_is_told_what_it_is(change: list[Callable[[fx.GraphModule], None]], told: str) -> None:
    def denies(graph_module: fx.GraphModule) -> PassResult:
        for each in change:
            each(graph_module)
        return PassResult(graph_module, False)

    said = f"denies (pass 1) returned modified=False, but it changed the graph module: {told}. Return PassResult"
    with pytest.raises(FalseClaimError, match=f"^{re.escape(said)}"):
        PassManager([denies])(fx.symbolic_trace(Model()))


def test_whoever_denies_a_change_in_the_copy_that_it_returns_is_told() -> None:
    def denies(graph_module: fx.GraphModule) -> PassResult:
        return PassResult(copies_functionally(graph_module), False)

    with pytest.raises(
        FalseClaimError, match=r"modified=False, but it changed the graph module: edited relu\.target; "
    ):
        PassManager([denies])(fx.symbolic_trace(Model()))


def attaches(graph_module: fx.GraphModule) -> None:
    graph_module.meta["batch"] = 3


def renames(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").name = "first"


def makes_the_same_again(graph_module: fx.GraphModule) -> None:
    relu = node(graph_module, "relu")
    with graph_module.graph.inserting_after(relu):
        new = graph_module.graph.call_function(torch.relu, relu.args)
    relu.replace_all_uses_with(new)
    graph_module.graph.erase_node(relu)
    new.name = "relu"


CHANGED_NOTHING = "modified=True, but it changed nothing"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda graph_module: None, pytest.raises(FalseClaimError, match=CHANGED_NOTHING)),
        (makes_the_same_again, pytest.raises(FalseClaimError, match=CHANGED_NOTHING)),
        (renames, nullcontext()),
        (attaches, nullcontext()),
        (edits_meta, nullcontext()),
        (writes, nullcontext()),
        (edits, nullcontext()),
    ],
)
def test_a_change_that_is_claimed_is_one_of_structure_or_meta_or_tensors(
    change: Callable[[fx.GraphModule], None], expected: AbstractContextManager[Any]
) -> None:
    def claims_a_change(graph_module: fx.GraphModule) -> PassResult:
        change(graph_module)
        return PassResult(graph_module, True)

    graph_module = fx.symbolic_trace(Model())
    graph_module.meta["batch"] = 2
    with expected:
        PassManager([claims_a_change], instruments=[CheckClaims()])(graph_module)


def forgets_names(graph_module: fx.GraphModule) -> None:
    for each in graph_module.graph.nodes:
        each.meta.pop("custom", None)


@dataclass(frozen=True)
class ForgetsNames(Pass):
    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES})

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        forgets_names(graph_module)
        return PassResult(graph_module, False)


@dataclass(frozen=True)
class NeedsAndForgetsNames(ForgetsNames):
    needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})
    preserves: ClassVar[frozenset[Fact]] = ALL_FACTS


@pytest.mark.parametrize("loses", [ForgetsNames(), NeedsAndForgetsNames()])
def test_a_fact_that_held_from_the_start_is_to_be_preserved(loses: Pass) -> None:
    named = NameNodes()(fx.symbolic_trace(Model())).graph_module
    with pytest.raises(FalseClaimError, match=r"\(pass 1\) claims to preserve 'names', which it lost"):
        PassManager([loses], instruments=[CheckClaims()])(named)


def test_a_fact_that_another_pass_lost_need_not_be_preserved() -> None:
    passes = [NameNodes(), forgets_names, ForgetsNames()]
    PassManager(passes, instruments=[CheckClaims()])(fx.symbolic_trace(Model()))


@dataclass(frozen=True)
class PreservesAllAndForgetsNames(ForgetsNames):
    preserves: ClassVar[frozenset[Fact]] = ALL_FACTS


def test_a_fact_that_a_pass_before_provided_is_to_be_preserved() -> None:
    with pytest.raises(FalseClaimError, match=r"\(pass 2\) claims to preserve 'names', which it lost"):
        PassManager([NameNodes(), PreservesAllAndForgetsNames()], instruments=[CheckClaims()])(
            fx.symbolic_trace(Model())
        )


FACTS = frozenset(Fact(name, lambda graph_module: "batch" not in graph_module.meta) for name in string.ascii_lowercase)


@dataclass(frozen=True)
class Attaches(Pass):
    def call(self, graph_module: fx.GraphModule) -> PassResult:
        attaches(graph_module)
        return PassResult(graph_module, False)


@pytest.mark.parametrize("claim", ["provide", "preserve"])
def test_of_facts_that_do_not_hold_the_first_by_name_is_told(claim: str) -> None:
    pass_ = type("Attaches", (Attaches,), {f"{claim}s": FACTS})()
    with pytest.raises(FalseClaimError, match=f"^attaches \\(pass 1\\) claims to {claim} 'a', which "):
        PassManager([pass_], instruments=[CheckClaims()])(fx.symbolic_trace(Model()))
