"""What a pass may declare, and what a wrong declaration is told."""

from __future__ import annotations

from typing import Any

import pytest
from torch import fx, nn

from fxpasses import Pass, PassResult
from fxpasses.errors import ArgumentTypeError, FalseClaimError
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.manager import ALL_FACTS, PassManager


def _declaring(**claims: Any) -> type[Pass]:
    return type("Declaring", (Pass,), {**claims, "call": lambda self, graph_module: PassResult(graph_module, False)})


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"outputs_claim": "subsets"}, r"Declaring\.outputs_claim: 'subsets' is no claim\. Did you mean 'subset'\?"),
        ({"outputs_claim": 7}, r"7 is no claim\. There are: 'equal', 'subset', 'renamed', 'at_birth'"),
        ({"needs": NAMES}, r"Declaring\.needs: expected a set of facts, got a fact; write frozenset\(\{names\}\)"),
        ({"provides": ["names"]}, r"Declaring\.provides: expected a frozenset of facts, got \['names'\]"),
        ({"preserves": frozenset({"names"})}, r"Declaring\.preserves holds 'names', which is no Fact"),
        ({"in_place": "no"}, r"Declaring\.in_place: expected True or False, got 'no'"),
    ],
)
def test_a_claim_that_cannot_be_meant_is_an_error_where_it_is_made(claims: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentTypeError, match=message):
        _declaring(**claims)


def test_facts_of_other_packages_and_claims_that_depend_on_options_are_fine() -> None:
    own = Fact("small", lambda graph_module: len(graph_module.graph.nodes) < 10)
    depends = {"preserves": property(lambda _: frozenset({own})), "outputs_claim": property(lambda _: "renamed")}
    pass_ = _declaring(needs={own}, in_place=False, **depends)()
    assert pass_.needs == {own}
    assert pass_.preserves == {own}
    assert pass_.outputs_claim == "renamed"
    assert pass_(fx.symbolic_trace(lambda x: x + 1)).modified is False


def test_all_facts_are_those_of_other_packages_too_and_nothing_else() -> None:
    assert NAMES in ALL_FACTS
    assert CALLS in ALL_FACTS
    assert Fact("small", lambda graph_module: True) in ALL_FACTS
    assert "names" not in ALL_FACTS
    assert repr(ALL_FACTS) == "ALL_FACTS"


def test_the_precondition_sees_the_input_and_the_postcondition_the_result() -> None:
    seen: list[tuple[str, fx.GraphModule]] = []
    given, made = fx.symbolic_trace(nn.ReLU()), fx.symbolic_trace(nn.Tanh())

    class Watched(Pass):
        in_place = False

        def requires(self, graph_module: fx.GraphModule) -> None:
            seen.append(("requires", graph_module))

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            seen.append(("call", graph_module))
            return PassResult(made, True)

        def ensures(self, graph_module: fx.GraphModule) -> None:
            seen.append(("ensures", graph_module))

    assert Watched()(given).graph_module is made
    assert seen == [("requires", given), ("call", given), ("ensures", made)]


def test_a_pass_that_declares_nothing_returns_the_graph_module_that_it_was_given() -> None:
    def renames(self: Pass, graph_module: fx.GraphModule) -> PassResult:
        graph_module.graph.output_node().name = "result"
        return PassResult(graph_module, True)

    def copies(self: Pass, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(fx.GraphModule(graph_module, graph_module.graph), True)

    graph_module = fx.symbolic_trace(nn.ReLU())
    assert PassManager([type("Renames", (Pass,), {"call": renames})()])(graph_module).graph_module is graph_module
    with pytest.raises(FalseClaimError, match="declares in_place=True, but returned another graph module"):
        PassManager([type("Copies", (Pass,), {"call": copies})()])(graph_module)


def test_a_pass_may_have_other_bases_that_take_class_keywords() -> None:
    class Tagged:
        tag = ""

        def __init_subclass__(cls, tag: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.tag = tag

    class Fold(Pass, Tagged, tag="fold"):
        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    assert Fold().tag == "fold"
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        type("Fold", (Pass,), {}, unheard_of=1)
