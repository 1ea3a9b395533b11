from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import fx, nn

from fxpasses.errors import ArgumentTypeError, UnmetNeedError
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.manager import ALL_FACTS, Pass, PassManager, PassResult, Repeat
from fxpasses.passes.name_nodes import NameNodes


def a_function(graph_module: fx.GraphModule) -> None:
    pass


@pytest.mark.parametrize("given", ["name-nodes", NameNodes, NameNodes(), a_function, nn.Sequential(nn.ReLU()), 3, None])
@pytest.mark.parametrize("composite", [PassManager, Repeat])
def test_what_is_no_list_of_passes_is_refused_as_a_whole(composite: type[PassManager | Repeat], given: object) -> None:
    said = f"{composite.__name__} takes a list of passes, got {given!r}. PassManager.parse reads a text."
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(said)}$"):
        composite(given)  # pyright: ignore[reportArgumentType] - the mistake under test


def test_passes_may_come_from_any_iterable() -> None:
    assert PassManager(iter([a_function])) == PassManager((a_function,)) == PassManager({a_function: 1})


@dataclass(frozen=True)
class NeedsNames(Pass):
    needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@dataclass(frozen=True)
class Notes(Pass):
    ran: list[fx.GraphModule]
    preserves: ClassVar[frozenset[Fact]] = ALL_FACTS

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        self.ran.append(graph_module)
        return PassResult(graph_module, False)


@pytest.mark.parametrize("composite", [PassManager, Repeat])
def test_an_unmet_need_inside_of_a_nested_pipeline_is_told_before_anything_runs(
    composite: type[PassManager | Repeat],
) -> None:
    ran: list[fx.GraphModule] = []
    graph_module = fx.symbolic_trace(nn.ReLU())
    with pytest.raises(UnmetNeedError, match=r"^needs-names \(pass 2\.1\.1\) needs the fact 'names'") as caught:
        PassManager([Notes(ran), composite([PassManager([NeedsNames()])])])(graph_module)
    assert caught.value.position == (1, 0, 0)
    assert ran == []
    PassManager([NameNodes(), composite([PassManager([NameNodes(), NeedsNames()])])])(graph_module)
