from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import fx, nn

from fxpasses.errors import UnmetNeedError
from fxpasses.graph.facts import Fact
from fxpasses.manager import ALL_FACTS, Pass, PassManager, PassResult
from fxpasses.manager.needs import facts_after, needs_of

KEPT, MADE, OTHER = (Fact(name, lambda graph_module: True) for name in ("kept", "made", "other"))


def declaring(**claims: object) -> Pass:
    return type("Declaring", (Pass,), {**claims, "call": lambda self, graph_module: PassResult(graph_module, False)})()


def a_function(graph_module: fx.GraphModule) -> None:
    pass


@pytest.mark.parametrize(
    ("pass_", "changed", "known"),
    [
        (declaring(preserves={KEPT}, provides={MADE}), True, {KEPT, MADE}),
        (declaring(preserves={KEPT}, provides={MADE}), False, {KEPT, OTHER, MADE}),
        (declaring(preserves=ALL_FACTS), True, {KEPT, OTHER}),
        (declaring(), True, set[Fact]()),
        (declaring(), False, {KEPT, OTHER}),
        (a_function, True, set[Fact]()),
        (a_function, False, {KEPT, OTHER}),
    ],
)
def test_what_is_known_after_a_pass_is_what_it_kept_and_what_it_made(
    pass_: Callable[[fx.GraphModule], object], changed: bool, known: set[Fact]
) -> None:
    assert facts_after(pass_, {KEPT, OTHER}, changed=changed) == known


def test_a_known_fact_is_not_tested_again() -> None:
    tested: list[fx.GraphModule] = []

    def holds(graph_module: fx.GraphModule) -> bool:
        tested.append(graph_module)
        return True

    fact = Fact("costly", holds)

    @dataclass(frozen=True)
    class Appends(Pass):
        needs: ClassVar[frozenset[Fact]] = frozenset({fact})
        preserves: ClassVar[frozenset[Fact]] = frozenset({fact})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            output = graph_module.graph.output_node()
            with graph_module.graph.inserting_before(output):
                output.args = (graph_module.graph.call_method("neg", output.args),)
            return PassResult(graph_module, True)

    def append_unseen(graph_module: fx.GraphModule) -> None:
        Appends().call(graph_module)

    PassManager([Appends(), a_function, Appends(), Appends()])(fx.symbolic_trace(nn.ReLU()))
    assert len(tested) == 1
    PassManager([Appends(), append_unseen, Appends(), Appends()])(fx.symbolic_trace(nn.ReLU()))
    assert len(tested) == 3
    PassManager([Appends(), Appends(), Appends()])(fx.symbolic_trace(nn.ReLU()))
    assert len(tested) == 4


def test_needs_have_a_fixed_order() -> None:
    facts = [Fact(name, lambda graph_module: True) for name in "hbfdaceg"]
    assert list(map(str, needs_of(declaring(needs=frozenset(facts))))) == list("abcdefgh")
    assert needs_of(a_function) == []


def test_an_unmet_need_that_no_registered_pass_provides_is_told_as_such() -> None:
    never = Fact("never", lambda graph_module: False)
    said = "declaring (pass 1) needs the fact 'never', which does not hold, and nothing before it provides it. "
    said += "Put a pass that provides it before it."
    with pytest.raises(UnmetNeedError, match=f"^{re.escape(said)}$"):
        PassManager([declaring(needs=frozenset({never}))])(fx.symbolic_trace(nn.ReLU()))
