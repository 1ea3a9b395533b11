"""What a pass may declare, and what a wrong declaration is told."""

from __future__ import annotations

from typing import Any

import pytest
from torch import fx

from fxpasses import Pass, PassResult
from fxpasses.errors import ArgumentTypeError
from fxpasses.graph.facts import NAMES, Fact


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
    pass_ = _declaring(needs={own}, preserves=property(lambda self: frozenset({own})), in_place=False)()
    assert pass_.needs == {own}
    assert pass_.preserves == {own}
    assert pass_(fx.symbolic_trace(lambda x: x + 1)).modified is False
