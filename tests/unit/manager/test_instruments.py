from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.errors import FalseClaimError, PassError, RequestError, UnknownNodeError, VerificationError
from fxpasses.graph.edit import replace_call
from fxpasses.graph.facts import NAMES, Fact
from fxpasses.manager import (
    AuditMeta,
    CheckClaims,
    DumpGraphs,
    Pass,
    PassManager,
    PassResult,
    PrintChanges,
    Provenance,
    SkipPasses,
    StopAfter,
    VerifyStructure,
    VerifyValues,
)
from fxpasses.manager.contract import OutputsClaim
from fxpasses.passes.name_nodes import NameNodes


def model(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x + 1).sum(dim=0) * 2


def traced() -> fx.GraphModule:
    graph_module = fx.symbolic_trace(model)
    for index, each in enumerate(graph_module.graph.nodes):
        each.meta["place"] = index
    return graph_module


def node(graph_module: fx.GraphModule, name: str) -> fx.Node:
    return next(each for each in graph_module.graph.nodes if each.name == name)


def replaces(graph_module: fx.GraphModule) -> None:
    relu = node(graph_module, "relu")
    with graph_module.graph.inserting_after(relu):
        new = graph_module.graph.call_function(torch.sigmoid, relu.args)
    relu.replace_all_uses_with(new)
    graph_module.graph.erase_node(relu)


def retargets(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").target = torch.sigmoid


def sets_args(graph_module: fx.GraphModule) -> None:
    node(graph_module, "mul").args = (node(graph_module, "sum_1"), 3)


def moves(graph_module: fx.GraphModule) -> None:
    with graph_module.graph.inserting_before(node(graph_module, "add")):
        first = graph_module.graph.call_function(torch.ones, (2,))
    node(graph_module, "mul").append(first)


def moves_back(graph_module: fx.GraphModule) -> None:
    node(graph_module, "add").prepend(node(graph_module, "ones"))


def edits_meta(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").meta["place"] = "elsewhere"


def copies_functionally(graph_module: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(graph_module.graph, {}))
    node_of = {each.name: each for each in graph.nodes}
    node_of["relu"].target = torch.sigmoid
    return fx.GraphModule(graph_module, graph)


def sets_graph(graph_module: fx.GraphModule) -> None:
    graph_module.graph = copies_functionally(graph_module).graph


def replaces_input(graph_module: fx.GraphModule) -> None:
    node(graph_module, "relu").replace_input_with(node(graph_module, "add"), node(graph_module, "x"))


@pytest.mark.parametrize(
    ("mutation", "name", "chain"),
    [
        (replaces, "sigmoid", ["replaces (pass 1) made it in place of relu"]),
        (replaces, "sum_1", ["replaces (pass 1) edited args"]),
        (retargets, "relu", ["retargets (pass 1) edited target"]),
        (sets_args, "mul", ["sets_args (pass 1) edited args"]),
        (edits_meta, "relu", ["edits_meta (pass 1) edited meta['place']"]),
        (copies_functionally, "relu", ["copies_functionally (pass 1) edited target"]),
        (sets_graph, "relu", ["sets_graph (pass 1) edited target"]),
        (replaces_input, "relu", ["replaces_input (pass 1) edited args"]),
        (replaces_input, "add", []),
    ],
)
def test_why_tells_every_kind_of_mutation(
    mutation: Callable[[fx.GraphModule], object], name: str, chain: list[str]
) -> None:
    provenance = Provenance()
    result = PassManager([mutation], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why(name)] == chain
    assert provenance.why(node(result.graph_module, name)) == provenance.why(name)


def test_why_tells_a_move() -> None:
    provenance = Provenance()
    PassManager([moves, moves_back], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why("ones")] == [
        "moves (pass 1) made it",
        "moves_back (pass 2) moved it",
    ]
    assert provenance.why("add") == ()


def test_why_follows_a_node_through_replacements_and_copies() -> None:
    def swaps_back(graph_module: fx.GraphModule) -> None:
        sigmoid = node(graph_module, "sigmoid")
        replace_call(sigmoid, "call_method", "relu", sigmoid.args)

    def renames(graph_module: fx.GraphModule) -> fx.GraphModule:
        graph = fx.Graph()
        graph.output(graph.graph_copy(graph_module.graph, {}))
        return fx.GraphModule(graph_module, graph)

    provenance = Provenance()
    PassManager([retargets, replaces, swaps_back, renames], instruments=[provenance])(traced())
    assert [str(cause) for cause in provenance.why("relu_1")] == [
        "retargets (pass 1) edited target",
        "replaces (pass 2) made it in place of relu",
        "swaps_back (pass 3) made it in place of sigmoid",
    ]
    with pytest.raises(UnknownNodeError, match="no node 'sigmoid'"):
        provenance.why("sigmoid")


def test_lost_meta_is_listed_by_pass_and_key() -> None:
    def inserts(graph_module: fx.GraphModule) -> None:
        with graph_module.graph.inserting_after(node(graph_module, "add")):
            new = graph_module.graph.call_method("neg", (node(graph_module, "add"),))
        node(graph_module, "relu").args = (new,)

    def strips(graph_module: fx.GraphModule) -> None:
        del node(graph_module, "mul").meta["place"]

    def careful(graph_module: fx.GraphModule) -> None:
        replace_call(node(graph_module, "sigmoid"), "call_method", "sigmoid", node(graph_module, "sigmoid").args)

    audit = AuditMeta()
    graph_module = traced()
    PassManager([inserts, strips, careful_setup, careful], instruments=[audit])(graph_module)
    assert str(audit).splitlines() == [
        "inserts (pass 1) lost meta['place'] on neg (new)",
        "strips (pass 2) lost meta['place'] on mul (removed)",
        "careful_setup (pass 3) lost meta['place'] on sigmoid (replaced)",
    ]
    assert AuditMeta(["other"]).losses == []


def careful_setup(graph_module: fx.GraphModule) -> None:
    replaces(graph_module)


def test_a_fact_that_is_claimed_and_does_not_hold_is_found_out() -> None:
    @dataclass(frozen=True)
    class Pretends(Pass):
        provides: ClassVar[frozenset[Fact]] = frozenset({NAMES})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    @dataclass(frozen=True)
    class Loses(Pass):
        preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            for each in graph_module.graph.nodes:
                each.meta.pop("custom", None)
            return PassResult(graph_module, True)

    PassManager([Pretends()])(traced())
    with pytest.raises(FalseClaimError, match="claims to provide 'names', which does not hold"):
        PassManager([Pretends()], instruments=[CheckClaims()])(traced())
    with pytest.raises(FalseClaimError, match="claims to preserve 'names', which it lost"):
        PassManager([NameNodes(), Loses()], instruments=[CheckClaims()])(traced())


def test_a_change_of_meta_alone_is_a_change() -> None:
    assert PassManager([NameNodes()], instruments=[CheckClaims()])(traced()).modified


def test_a_copy_that_says_it_changed_nothing_is_right() -> None:
    def copies(graph_module: fx.GraphModule) -> PassResult:
        graph = copy.deepcopy(graph_module.graph)
        list(graph.nodes)[1].name = "total"
        return PassResult(fx.GraphModule(graph_module, graph), False)

    PassManager([copies], instruments=[CheckClaims()])(traced())


def test_a_malformed_input_is_no_passs_fault() -> None:
    graph_module = traced()
    node(graph_module, "relu").users.clear()
    with pytest.raises(VerificationError, match="Before any pass ran, this was so already"):
        PassManager([sets_args], instruments=[VerifyStructure()])(graph_module)


def test_a_pass_that_corrupts_users_alone_is_found() -> None:
    def corrupts(graph_module: fx.GraphModule) -> None:
        node(graph_module, "relu").users.clear()

    with pytest.raises(PassError, match=r"After corrupts \(pass 3\): The graph is malformed: 'relu' is used by"):
        PassManager([lambda _: None, edits_meta, corrupts], instruments=[VerifyStructure()])(traced())


def test_a_pass_that_leaves_a_stale_value_is_found() -> None:
    def stale(graph_module: fx.GraphModule) -> None:
        node(graph_module, "sum_1").kwargs = {"dim": 0, "keepdim": True}

    graph_module = traced()
    ShapeProp(graph_module).propagate(torch.ones(2, 3))
    with pytest.raises(PassError, match="meta of 'sum_1' is stale: it says float32"):
        PassManager([lambda _: None, stale], instruments=[VerifyStructure()])(graph_module)


@pytest.mark.parametrize("wrong", [retargets, sets_args, replaces_input])
def test_other_values_are_found(wrong: Callable[[fx.GraphModule], None]) -> None:
    def harmless(graph_module: fx.GraphModule) -> None:
        node(graph_module, "add").target = torch.add

    values = VerifyValues([torch.randn(4, 3)])
    PassManager([harmless], instruments=[values])(traced())
    with pytest.raises(PassError, match=r"\(pass 2\): The graph returns something else than before"):
        PassManager([harmless, wrong], instruments=[values])(traced())


@pytest.mark.parametrize(
    ("claim", "outputs", "is_right"),
    [
        ("equal", lambda nodes: nodes["mul"], True),
        ("equal", lambda nodes: {"a": nodes["mul"]}, False),
        ("renamed", lambda nodes: {"a": nodes["mul"]}, True),
        ("renamed", lambda nodes: {"a": nodes["sum_1"]}, False),
        ("subset", lambda nodes: {"a": nodes["sum_1"], "b": nodes["add"]}, True),
        ("subset", lambda nodes: {"a": nodes["sum_1"], "b": 3}, True),
    ],
)
def test_what_may_change_is_what_the_pass_claims(
    claim: OutputsClaim, outputs: Callable[[dict[str, fx.Node]], object], is_right: bool
) -> None:
    def returns(graph_module: fx.GraphModule) -> None:
        nodes = {each.name: each for each in graph_module.graph.nodes}
        nodes["output"].args = (outputs(nodes),)

    returns.outputs_claim = claim
    manager = PassManager([returns], instruments=[VerifyValues([torch.randn(4, 3)])])
    if is_right:
        manager(traced())
    else:
        with pytest.raises(PassError, match="returns something else"):
            manager(traced())


def test_a_value_that_was_never_there_is_no_subset() -> None:
    def returns(graph_module: fx.GraphModule) -> None:
        nodes = {each.name: each for each in graph_module.graph.nodes}
        nodes["relu"].target = torch.sigmoid
        nodes["output"].args = ({"a": nodes["relu"]},)

    returns.outputs_claim = "subset"
    with pytest.raises(PassError, match=r"'relu', which is .*, is no value that the graph had before"):
        PassManager([returns], instruments=[VerifyValues([torch.randn(4, 3)])])(traced())


def test_of_several_later_writes_into_a_returned_value_some_may_go() -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        first, second = y.chunk(2)
        first.mul_(2)
        second.mul_(3)
        return second

    def drops_the_first_write(graph_module: fx.GraphModule) -> None:
        graph_module.graph.erase_node(node(graph_module, "mul_"))
        graph_module.graph.output_node().args = ([node(graph_module, "add"), node(graph_module, "getitem_1")],)

    drops_the_first_write.outputs_claim = "subset"
    values = VerifyValues([torch.tensor([-3.0, 2.0])])
    PassManager([drops_the_first_write], instruments=[values])(fx.symbolic_trace(writes))


def test_at_birth_allows_what_the_output_was_before_a_write() -> None:
    def writes(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch.relu_(y)
        return y

    def protects(graph_module: fx.GraphModule) -> None:
        node(graph_module, "relu_").args = (node(graph_module, "x"),)

    protects.outputs_claim = "at_birth"
    inputs = [torch.tensor([-3.0, 2.0])]
    PassManager([protects], instruments=[VerifyValues(inputs)])(fx.symbolic_trace(writes))
    protects.outputs_claim = "equal"
    with pytest.raises(PassError, match="returns something else"):
        PassManager([protects], instruments=[VerifyValues(inputs)])(fx.symbolic_trace(writes))


def test_inputs_are_made_from_recorded_shapes() -> None:
    graph_module = traced()
    with pytest.raises(RequestError, match="The placeholder 'x' has no recorded shape"):
        PassManager([retargets], instruments=[VerifyValues()])(graph_module)
    ShapeProp(graph_module).propagate(torch.ones(2, 3))
    with pytest.raises(PassError, match="returns something else"):
        PassManager([retargets], instruments=[VerifyValues()])(graph_module)


def test_verifying_values_leaves_buffers_and_random_numbers_alone() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    graph_module = fx.symbolic_trace(network)
    before, versions = network[0].running_mean.clone(), network[0].running_mean._version
    inputs = [torch.randn(4, 3)]
    random = torch.random.get_rng_state()

    def renames(graph_module: fx.GraphModule) -> None:
        node(graph_module, "_1").name = "dropout"

    PassManager([renames, lambda _: None], instruments=[VerifyValues(inputs)])(graph_module)
    assert torch.equal(network[0].running_mean, before)
    assert network[0].running_mean._version == versions
    assert torch.equal(torch.random.get_rng_state(), random)


def test_dumps_are_numbered_and_only_of_changes(tmp_path: Path) -> None:
    def fails(graph_module: fx.GraphModule) -> None:
        sets_args(graph_module)
        raise KeyError("no")

    with pytest.raises(PassError):
        PassManager([lambda _: None, replaces, lambda _: None, fails], instruments=[DumpGraphs(tmp_path / "a" / "b")])(
            traced()
        )
    files = {path.name: path.read_text() for path in (tmp_path / "a" / "b").iterdir()}
    assert sorted(files) == ["000-input.txt", "002-replaces.diff", "002-replaces.txt", "004-fails.failed.txt"]
    assert "sigmoid = call_function[sigmoid](add)" in files["002-replaces.txt"]
    assert files["002-replaces.diff"].splitlines()[:5] == [
        "  x = placeholder[x]()",
        "  add = call_function[add](x, 1)",
        "- relu = call_function[relu](add)",
        "+ sigmoid = call_function[sigmoid](add)",
        "- sum_1 = call_method[sum](relu, dim=0)",
    ]
    assert "# KeyError: 'no'" in files["004-fails.failed.txt"]


def test_a_diff_is_coloured_on_a_terminal_alone() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()
    PassManager([sets_args], instruments=[PrintChanges(plain), PrintChanges(terminal)])(traced())
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[31m- mul = call_function[mul](sum_1, 2)\x1b[0m\n" in terminal.getvalue()
    assert plain.getvalue().splitlines()[2:4] == ["@@", "  relu = call_function[relu](add)"]


def test_reports_are_tables_and_json() -> None:
    rich = pytest.importorskip("rich.console")
    manager = PassManager([NameNodes(), PassManager([replaces, retargets])], instruments=[SkipPasses("retargets")])
    report = manager(traced()).report
    lines = str(report).splitlines()
    assert lines[0].split() == ["pass", "ms", "changed", "added", "removed", "replaced", "edited", "skipped"]
    assert lines[4].split()[2:] == ["yes", "1", "1", "1", "1"] or lines[4].split()[1:] == ["yes", "1", "1", "1", "1"]
    assert lines[5].split() == ["retargets", "named", "in", "SkipPasses"]
    console = rich.Console(file=io.StringIO(), width=100)
    console.print(report)
    assert "retargets" in console.file.getvalue()
    tree = json.loads(report.to_json())
    assert tree["children"][1]["children"][0]["replaced"] == 1
    assert tree["children"][1]["children"][1]["skipped"] == "named in SkipPasses"


def test_only_so_many_passes_run() -> None:
    manager = PassManager([replaces, PassManager([lambda _: None, sets_args])], instruments=[StopAfter(2)])
    for _ in range(2):  # each run counts anew
        report = manager(traced()).report
        assert [each.skipped for each in report if not each.children] == [None, None, "after the first 2"]


def test_instruments_of_a_nested_pipeline_see_what_runs_there() -> None:
    inner, outer = Provenance(), Provenance()
    manager = PassManager([sets_args, PassManager([retargets], instruments=[inner])], instruments=[outer])
    manager(traced())
    assert inner.why("mul") == ()
    assert [str(cause) for cause in inner.why("relu")] == ["retargets (pass 2.1) edited target"]
    assert len(outer.why("mul")) == len(outer.why("relu")) == 1
