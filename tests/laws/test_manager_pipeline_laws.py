"""What holds for pipelines of any passes, in any company: order, splits, failures, repetition, observers."""

from __future__ import annotations

import io
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from support.generated import Prepared, deterministic_cases, named_capture, names
from support.oracle import assert_bit_equal
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.errors import FalseClaimError, NotConvergedError, PassError, UnmetNeedError
from fxpasses.manager import (
    AuditMeta,
    CheckClaims,
    Instrument,
    Pass,
    PassManager,
    PassResult,
    PrintChanges,
    Provenance,
    Repeat,
    VerifyStructure,
)
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.protect_outputs import ProtectOutputs
from fxpasses.passes.prune_to_outputs import PruneToOutputs
from fxpasses.testing import Case, SharedRun

FUNCTIONS = (torch.relu, torch.neg, torch.abs, torch.tanh)
chains = st.lists(st.integers(0, len(FUNCTIONS) - 1), min_size=1, max_size=8)
counts = st.lists(st.integers(0, len(FUNCTIONS) - 1), max_size=5)
over_chains = SharedRun(chains, counts, st.data())


def chain(functions: list[int]) -> fx.GraphModule:
    """A chain of operations, each on the value before it and on the input."""
    graph = fx.Graph()
    x = value = graph.placeholder("x")
    for index in functions:
        value = graph.call_function(operator.add, (graph.call_function(FUNCTIONS[index], (value,)), x))
    graph.output(value)
    return fx.GraphModule(nn.Module(), graph)


def text(graph_module: fx.GraphModule) -> str:
    """Everything that a pipeline may change, naively."""
    lines = [f"{node.format_node()} {node.meta} {list(node.users)}" for node in graph_module.graph.nodes]
    return "\n".join([*lines, graph_module.code])


@dataclass(frozen=True)
class Append(Pass):
    """Applies one more function to the result."""

    index: int

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        output = graph_module.graph.output_node()
        with graph_module.graph.inserting_before(output):
            output.args = (graph_module.graph.call_function(FUNCTIONS[self.index], output.args),)
        return PassResult(graph_module, True)


@dataclass(frozen=True)
class RemoveOne(Pass):
    """Removes one call of a function, if there is any."""

    index: int

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        for node in graph_module.graph.find_nodes(op="call_function", target=FUNCTIONS[self.index]):
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)
            return PassResult(graph_module, True)
        return PassResult(graph_module, False)


def corrupt_users(graph_module: fx.GraphModule) -> None:
    next(iter(graph_module.graph.nodes)).users.clear()


def corrupt_order(graph_module: fx.GraphModule) -> None:
    next(iter(graph_module.graph.nodes)).prepend(graph_module.graph.output_node().prev)


def call_what_is_missing(graph_module: fx.GraphModule) -> None:
    output = graph_module.graph.output_node()
    with graph_module.graph.inserting_before(output):
        output.args = (graph_module.graph.call_module("missing", output.args),)


def raise_an_error(graph_module: fx.GraphModule) -> None:
    corrupt_order(graph_module)
    raise ZeroDivisionError(str(len(graph_module.graph.nodes)))


CORRUPTING: tuple[Callable[[fx.GraphModule], None], ...] = (corrupt_users, corrupt_order, call_what_is_missing)


@over_chains.law
def test_an_empty_pipeline_changes_nothing(functions: list[int]) -> None:
    graph_module = chain(functions)
    before = text(graph_module)
    result = PassManager([])(graph_module)
    assert not result.modified
    assert result.graph_module is graph_module
    assert text(graph_module) == before


@over_chains.law
def test_a_pipeline_may_be_split_anywhere(functions: list[int], appended: list[int], data: st.DataObject) -> None:
    passes = [Append(index) for index in appended]
    by_hand = chain(functions)
    for each in passes:
        each(by_hand)
    by_hand.recompile()
    split = data.draw(st.integers(0, len(passes)))
    split_up = PassManager([PassManager(passes[:split]), PassManager(passes[split:])])
    assert text(split_up(chain(functions)).graph_module) == text(by_hand)


@given(chains, st.integers(0, 3), st.integers(1, 10))
def test_a_repetition_ends_at_the_fixpoint_or_says_that_it_does_not(
    functions: list[int], removed: int, limit: int
) -> None:
    graph_module, by_hand, rounds = chain(functions), chain(functions), 1
    before = text(graph_module)
    while RemoveOne(removed)(by_hand).modified:
        rounds += 1
    by_hand.recompile()
    repeat = Repeat([RemoveOne(removed)], limit=limit)
    if rounds > limit:
        with pytest.raises(NotConvergedError):
            PassManager([repeat])(graph_module)
        assert text(graph_module) == before
    else:
        result = PassManager([repeat])(graph_module)
        assert text(result.graph_module) == text(by_hand)
        assert len(result.report.children[0].children) == rounds


@given(deterministic_cases, st.data())
def test_every_order_that_meets_the_needs_means_the_same_and_no_other_runs(case: Case, data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(names(named_capture(case))))
    passes: list[Pass] = [NameNodes(), PruneToOutputs([wanted]), ProtectOutputs(), CollapseLeaves([])]
    order: list[Any] = passes[1:3]  # only in this order
    for each in (passes[0], passes[3]):
        order.insert(data.draw(st.integers(0, len(order))), each)
    prepared, expected = Prepared.of(case), Prepared.of(case)
    captured = capture_symbolic(prepared.module, training=case.training)
    before = str(captured.graph)
    if order.index(passes[0]) > order.index(passes[1]):
        watch = Watch()
        with pytest.raises(UnmetNeedError) as caught:
            PassManager(order, instruments=[watch])(captured)
        assert watch.seen == []
        assert caught.value.position == (order.index(passes[1]),)
        assert str(captured.graph) == before
        return
    straight = PassManager(passes)(capture_symbolic(expected.module, training=case.training)).graph_module
    assert_bit_equal(prepared.run(PassManager(order)(captured).graph_module), expected.run(straight))


@over_chains.law
def test_a_failure_names_its_pass_and_leaves_the_graph(
    functions: list[int], appended: list[int], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(appended)))
    passes: list[Any] = [Append(index) for index in appended]
    passes.insert(place, raise_an_error)
    graph_module, by_hand = chain(functions), chain(functions)
    before = text(graph_module)
    for each in passes[:place]:
        each(by_hand)
    for pipeline, position in ((passes, (place,)), ([PassManager(passes)], (0, place))):
        with pytest.raises(PassError) as caught:
            PassManager(pipeline)(graph_module)
        assert caught.value.pass_ is raise_an_error
        assert caught.value.position == position
        assert str(caught.value.before) == str(by_hand.graph)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert text(graph_module) == before


@over_chains.law
def test_a_corrupting_pass_is_found_at_its_own_place(
    functions: list[int], appended: list[int], data: st.DataObject
) -> None:
    place, corrupt = data.draw(st.integers(0, len(appended))), data.draw(st.sampled_from(CORRUPTING))
    passes: list[Any] = [Append(index) for index in appended]
    passes.insert(place, corrupt)
    with pytest.raises(PassError) as caught:
        PassManager(passes, instruments=[VerifyStructure()])(chain(functions))
    assert caught.value.pass_ is corrupt
    assert caught.value.position == (place,)


@over_chains.law
def test_right_passes_are_not_found_fault_with(functions: list[int], appended: list[int]) -> None:
    passes = [*(Append(index) for index in appended), *(RemoveOne(index) for index in appended)]
    instruments = [VerifyStructure(), CheckClaims()]
    result = PassManager(passes, instruments=instruments)(chain(functions))
    assert result.modified is bool(appended)


@given(chains, st.integers(0, 3))
def test_a_pass_that_denies_its_change_is_told(functions: list[int], index: int) -> None:
    def deny(graph_module: fx.GraphModule) -> PassResult:
        return PassResult(Append(index)(graph_module).graph_module, False)

    graph_module = chain(functions)
    before = text(graph_module)
    with pytest.raises(FalseClaimError) as caught:
        PassManager([Append(0), deny])(graph_module)
    assert caught.value.position == (1,)
    assert text(graph_module) == before


@given(chains, chains, counts)
def test_one_pipeline_on_two_models_is_two_pipelines(one: list[int], other: list[int], appended: list[int]) -> None:
    def made() -> PassManager:
        passes = [*(Append(index) for index in appended), Repeat([RemoveOne(0)], limit=20)]
        return PassManager(passes, instruments=[VerifyStructure(), CheckClaims()])

    manager = made()
    manager(chain(other))
    again, fresh = manager(chain(one)), made()(chain(one))
    assert text(again.graph_module) == text(fresh.graph_module)
    assert again.modified == fresh.modified


class Watch(Instrument):
    """Counts what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def after_pass(self, step: Any) -> None:
        self.seen.append((step.name, step.changed))


OBSERVERS: tuple[Callable[[], Instrument], ...] = (
    lambda: Watch(), VerifyStructure, CheckClaims, Provenance, AuditMeta, lambda: PrintChanges(file=io.StringIO())
)  # fmt: skip


@given(chains, counts, st.lists(st.sampled_from(OBSERVERS), min_size=1, unique=True))
@example([0, 1], [1, 2], list(OBSERVERS))
def test_observers_change_nothing(
    functions: list[int], appended: list[int], observers: list[Callable[[], Instrument]]
) -> None:
    passes = [*(Append(index) for index in appended), RemoveOne(1)]
    plain = PassManager(passes)(chain(functions))
    watched = PassManager(passes, instruments=[make() for make in observers])(chain(functions))
    assert text(watched.graph_module) == text(plain.graph_module)
    assert watched.modified == plain.modified


@over_chains.law
def test_an_observer_sees_each_pass_once_and_what_it_changed(functions: list[int], appended: list[int]) -> None:
    inside, watch, other = Watch(), Watch(), Watch()
    inner = PassManager([Append(index) for index in appended], instruments=[inside])
    PassManager([inner, RemoveOne(1)], instruments=[watch, other])(chain(functions))
    expected = [True] * len(appended) + [1 in [*functions, *appended]]
    assert [changed for _, changed in watch.seen] == [changed for _, changed in other.seen] == expected
    assert [changed for _, changed in inside.seen] == [True] * len(appended)
