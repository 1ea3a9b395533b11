from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import fx

from fxpasses.errors import ArgumentTypeError, NotConvergedError, PassError, UnmetNeedError
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.manager import Pass, PassManager, PassResult, Repeat
from fxpasses.passes.name_nodes import NameNodes


def chain() -> fx.GraphModule:
    return fx.symbolic_trace(lambda x: x.neg().neg().neg().neg())


def drop_one(graph_module: fx.GraphModule) -> PassResult:
    found = graph_module.graph.find_nodes(op="call_method", target="neg")
    if found:
        found[0].replace_all_uses_with(found[0].args[0])
        graph_module.graph.erase_node(found[0])
    return PassResult(graph_module, bool(found))


def test_runs_until_nothing_changes() -> None:
    result = Repeat([drop_one])(chain())
    assert [len(each.results) for each in result.results] == [1] * 5
    assert [node.op for node in result.graph_module.graph.nodes] == ["placeholder", "output"]
    assert (result.report.name, result.report.removed) == ("repeat", 4)


def test_a_pass_that_always_says_true_does_not_keep_it_going() -> None:
    def busy(graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, True)

    assert len(Repeat([busy])(chain()).results) == 1


def test_new_names_alone_are_no_endless_loop() -> None:
    def name_canonically(graph_module: fx.GraphModule) -> None:
        for index, node in enumerate(graph_module.graph.nodes):
            node.name = f"n{index}"

    assert len(Repeat([name_canonically])(chain()).results) == 2


def test_new_names_each_time_are_one() -> None:
    def rebuild(graph_module: fx.GraphModule) -> None:
        node = graph_module.graph.find_nodes(op="call_method", target="neg")[0]
        with graph_module.graph.inserting_after(node):
            new = graph_module.graph.call_method("neg", node.args)
        node.replace_all_uses_with(new)
        graph_module.graph.erase_node(node)

    with pytest.raises(NotConvergedError, match=r"after round 2 is what it was before the first\.") as caught:
        Repeat([rebuild], limit=100)(chain())
    assert "Still changing it: rebuild. It undoes what it did, or never ends; if it only" in str(caught.value)


def test_reaching_the_limit_is_an_error_that_puts_the_graph_back() -> None:
    graph_module = chain()
    with pytest.raises(NotConvergedError, match="round 3, the last allowed, changed the graph") as caught:
        PassManager([Repeat([drop_one], limit=3)])(graph_module)
    assert caught.value.position == (0,)
    assert len(graph_module.graph.nodes) == 6


def test_a_write_into_a_parameter_each_round_is_no_cycle() -> None:
    graph_module = fx.symbolic_trace(torch.nn.Linear(2, 2))

    def halve(graph_module: fx.GraphModule) -> None:
        with torch.no_grad():
            if graph_module.weight.abs().max() > 0.1:
                graph_module.weight.mul_(0.5)

    assert len(Repeat([halve], limit=20)(graph_module).results) > 2


def test_a_new_module_each_round_is_no_cycle_even_where_old_ones_are_gone() -> None:
    places: list[int] = []

    def renew(graph_module: fx.GraphModule) -> None:
        """Puts in another module, if possible one that lies in memory where an earlier one did."""
        if len(places) < 20:
            candidates = [torch.nn.ReLU() for _ in range(200)]
            new = next((each for each in candidates if id(each) in places), candidates[-1])
            places.append(id(new))
            graph_module.add_module("0", new)

    assert len(Repeat([renew], limit=30)(fx.symbolic_trace(torch.nn.Sequential(torch.nn.ReLU()))).results) == 21


def test_what_a_round_loses_the_next_one_lacks() -> None:
    @dataclass(frozen=True)
    class UsesUpNames(Pass):
        needs: ClassVar[frozenset[Fact]] = frozenset({NAMES})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    graph_module = NameNodes()(chain()).graph_module
    PassManager([UsesUpNames()])(graph_module)
    with pytest.raises(UnmetNeedError, match=r"uses-up-names .* does not preserve it"):
        Repeat([UsesUpNames()])(graph_module)
    Repeat([NameNodes(), UsesUpNames()])(graph_module)


def test_the_place_of_a_failure_is_that_in_the_round() -> None:
    def fails(graph_module: fx.GraphModule) -> PassResult:
        raise KeyError(len(graph_module.graph.nodes))

    with pytest.raises(PassError) as caught:
        PassManager([drop_one, Repeat([drop_one, fails])])(chain())
    assert caught.value.position == (1, 1)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_is_a_positive_number(limit: object) -> None:
    with pytest.raises(ArgumentTypeError, match=f"limit={limit!r}"):
        Repeat([drop_one], limit=limit)  # pyright: ignore[reportArgumentType] - the mistake under test


def test_ten_rounds_are_the_limit_if_none_is_given() -> None:
    def append(graph_module: fx.GraphModule) -> None:
        output = graph_module.graph.output_node()
        with graph_module.graph.inserting_before(output):
            output.args = (graph_module.graph.call_method("neg", output.args),)

    with pytest.raises(NotConvergedError, match=r"round 10, the last allowed.*raise limit=10\."):
        Repeat([append])(chain())


def test_a_repetition_prints_as_its_text() -> None:
    assert str(Repeat([NameNodes()])) == "repeat(name-nodes)"
    assert str(Repeat([NameNodes(), Repeat([])], limit=4)) == "repeat{limit=4}(name-nodes, repeat())"


def to_abs(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_method", target="neg"):
        node.target = "abs"


def to_neg(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_method", target="abs"):
        node.target = "neg"


def changes_nothing(graph_module: fx.GraphModule) -> None:
    pass


def test_passes_that_undo_each_other_are_named_and_no_others() -> None:
    said = "after round 2 is what it was before the first. Still changing it: to_abs, to_neg. They undo each other; if"
    with pytest.raises(NotConvergedError, match=re.escape(said)):
        Repeat([to_abs, changes_nothing, PassManager([to_neg])])(chain())


@pytest.mark.parametrize(("drops", "rounds"), [(0, (4, "before the first")), (1, (5, "after round 1"))])
def test_a_cycle_of_several_rounds_is_told_with_the_round_where_it_began(drops: int, rounds: tuple[int, str]) -> None:
    def swap(graph_module: fx.GraphModule) -> None:
        if len(graph_module.graph.nodes) > 6 - drops:
            drop_one(graph_module)
        elif graph_module.graph.find_nodes(op="call_method", target="neg"):
            to_abs(graph_module)
        else:
            to_neg(graph_module)

    said = "the graph after round {} is what it was {}.".format(*rounds)
    with pytest.raises(NotConvergedError, match=re.escape(said)):
        Repeat([swap], limit=9)(chain())
