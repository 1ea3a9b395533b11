"""What `check_pass` takes, and what it says."""

from __future__ import annotations

import itertools
import operator
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from planted.wrong_passes import PLANTED
from torch import fx, nn

from fxpasses import testing as fxt
from fxpasses.errors import ArgumentTypeError, RequestError
from fxpasses.manager import PassResult
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.testing.laws.law import transform
from fxpasses.testing.models.sample import sample_case
from fxpasses.testing.repro import Folder
from fxpasses.testing.subject import deep_copy

CASE = fxt.Case("""
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x, scale=2.0):
        y = self.linear(x)
        z = torch.relu(y)
        return {"difference": z - y, "product": y * scale}


torch.manual_seed(0)
module = Model().eval()
args = (torch.linspace(-1.0, 1.0, 6).reshape(2, 3),)
kwargs = {"scale": 3.0}
""")


def swap_arguments_of_sub(graph_module: fx.GraphModule) -> PassResult:
    found = [node for node in graph_module.graph.nodes if node.target is operator.sub]
    for node in found:
        node.args = node.args[::-1]
    return PassResult(graph_module, bool(found))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "path", tmp_path / "repro")


def _model() -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))


@pytest.mark.parametrize(
    "pass_",
    [
        lambda gm: None,
        lambda gm: gm,
        lambda gm: gm.graph,
        lambda gm: False,
        lambda gm: PassResult(gm, False),
        lambda gm: (gm, False),
        lambda gm: fx.GraphModule(gm, gm.graph),
    ],
)
def test_whatever_a_pass_usually_returns_is_understood(pass_) -> None:
    fxt.check_pass(pass_, CASE, laws=[fxt.Equivalent()])
    assert isinstance(transform(pass_, _model()).graph_module, fx.GraphModule)


def test_what_no_pass_returns_is_a_mistake_that_is_explained() -> None:
    with pytest.raises(fxt.TotalViolation, match="returned a int"):
        fxt.check_pass(lambda gm: 3, CASE)


def test_a_graph_module_a_module_and_a_case_are_checked() -> None:
    fxt.check_pass(lambda gm: None, CASE)
    fxt.check_pass(lambda gm: None, _model(), [torch.ones(1, 2)])
    fxt.check_pass(lambda gm: None, nn.Sequential(nn.Dropout(), nn.Linear(2, 2)), [torch.ones(1, 2)])
    fxt.check_pass(lambda gm: None, nn.Linear(2, 2), kwargs={"input": torch.ones(1, 2)})


def test_nothing_that_is_given_is_changed() -> None:
    model = _model()
    code, state = model.code, {name: value.clone() for name, value in model.state_dict().items()}

    def ruin(graph_module: fx.GraphModule) -> None:
        graph_module.get_submodule("0").weight.data.zero_()
        graph_module.eval()
        graph_module.graph.output_node().args = (None,)

    with pytest.raises(fxt.EquivalentViolation):
        fxt.check_pass(ruin, model, [torch.ones(1, 2)], laws=[fxt.Equivalent()])
    assert model.code == code
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_inputs_that_are_missing_are_asked_for() -> None:
    with pytest.raises(ArgumentTypeError, match="example_value"):
        fxt.check_pass(lambda gm: None, _model())
    with pytest.raises(ArgumentTypeError, match="expected a Case"):
        fxt.check_pass(lambda gm: None, torch.relu)  # pyright: ignore


def test_the_message_shows_the_law_the_model_the_inputs_the_node_and_the_script() -> None:
    with pytest.raises(fxt.EquivalentViolation) as caught:
        fxt.check_pass(swap_arguments_of_sub, CASE)
    message = str(caught.value)
    assert message.startswith("Equivalent: in train mode, the output differs: at ['difference']")
    for part in (
        "class Model(nn.Module)",
        "torch.linspace(-1.0, 1.0, 6)",
        "first diverging node:",
        "%sub",
        "expected: tensor",
        "actual:   tensor",
    ):
        assert part in message
    assert Path(message.rpartition("script: ")[2]).is_file()


def _runs(path: Path) -> subprocess.CompletedProcess[str]:
    # -I: an isolated interpreter, in which neither the package nor the tests can be imported.
    blocked = "import sys; sys.modules['fxpasses'] = sys.modules['hypothesis'] = None; "
    code = f"{blocked}exec(compile(open({str(path)!r}).read(), 'script', 'exec'), {{'__name__': '__main__'}})"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)


def test_the_script_of_a_wrong_value_runs_where_there_is_only_torch(tmp_path: Path) -> None:
    path = fxt.save_repro(tmp_path / "script.py", swap_arguments_of_sub, CASE, fxt.Equivalent())
    done = _runs(path)
    assert done.returncode != 0
    assert "Tensor-likes are not equal" in done.stderr


def test_the_script_of_a_right_pass_runs_without_an_error(tmp_path: Path) -> None:
    path = fxt.save_repro(tmp_path / "script.py", lambda gm: None, CASE, fxt.Equivalent())
    done = _runs(path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "law", [fxt.Idempotent(), fxt.HonestFlag(), fxt.Deterministic(), fxt.PreservesInput(), fxt.WellFormed()]
)
def test_the_script_of_every_other_law_is_python(tmp_path: Path, law: fxt.Law) -> None:
    text = fxt.save_repro(tmp_path / "script.py", swap_arguments_of_sub, CASE, law).read_text()
    compile(text, "script", "exec")
    assert "swap_arguments_of_sub" in text


def test_errors_that_a_pass_documents_are_allowed() -> None:
    def refuse(graph_module: fx.GraphModule) -> None:
        raise RequestError("not this one")

    fxt.check_pass(refuse, CASE, allowed=(RequestError,))
    with pytest.raises(fxt.TotalViolation, match="RequestError: not this one") as caught:
        fxt.check_pass(refuse, CASE)
    assert isinstance(caught.value.__cause__, RequestError)


def test_an_error_that_is_allowed_must_leave_the_input_alone() -> None:
    def change_and_refuse(graph_module: fx.GraphModule) -> None:
        graph_module.graph.output_node().args = (None,)
        raise RequestError("too late")

    with pytest.raises(fxt.PreservesInputViolation, match="the pass raised RequestError"):
        fxt.check_pass(change_and_refuse, CASE, allowed=(RequestError,))


def test_each_law_has_its_own_error() -> None:
    laws = [getattr(fxt, name) for name in fxt.__all__ if isinstance(getattr(fxt, name), type)]
    laws = [law for law in laws if issubclass(law, fxt.Law) and law is not fxt.Law]
    assert len({law.violation for law in laws}) == len(laws) >= 15


def test_a_case_with_many_lines_is_shortened_in_the_message() -> None:
    case = next(case for case in map(sample_case, itertools.count()) if case.source.count("\n") > 90)
    with pytest.raises(fxt.TotalViolation, match="more lines; see the script"):
        fxt.check_pass(lambda gm: 3, case)


def test_what_a_pass_changes_without_compiling_it_is_compiled() -> None:
    def say_true_for_one(graph_module: fx.GraphModule) -> bool:
        for node in graph_module.graph.find_nodes(op="call_function", target=operator.add):
            node.args = (node.args[0], True)
        return False

    transformed = transform(say_true_for_one, fx.symbolic_trace(lambda x: x + 1))
    assert "x + True" in transformed.graph_module.code


def test_a_deep_copy_shares_no_dict_with_its_original() -> None:
    original = fx.symbolic_trace(nn.Sequential(nn.ReLU()))
    copied = deep_copy(original)
    copied.get_submodule("0").register_forward_hook(lambda module, args, output: output + 1)
    copied.register_buffer("more", torch.ones(1))
    assert torch.equal(original(torch.ones(1)), torch.ones(1))
    assert list(original.buffers()) == []
    dicts = [
        {id(value) for each in module.modules() for value in vars(each).values() if isinstance(value, dict)}
        for module in (original, copied)
    ]
    assert dicts[0].isdisjoint(dicts[1])


def test_tolerances_and_modes_of_equivalence() -> None:
    def remove_dropout(graph_module: fx.GraphModule) -> None:
        PLANTED["remove_dropout"].pass_(graph_module)

    def nudge(graph_module: fx.GraphModule) -> None:
        graph_module.get_submodule("1").weight.data.mul_(1.00001)

    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    fxt.check_pass(remove_dropout, model, [torch.ones(3, 2)], laws=[fxt.Equivalent(modes=("eval",))])
    with pytest.raises(fxt.EquivalentViolation, match="in train mode"):
        fxt.check_pass(remove_dropout, model, [torch.ones(3, 2)], laws=[fxt.Equivalent()])
    fxt.check_pass(nudge, model, [torch.ones(3, 2)], laws=[fxt.Equivalent(rtol=1e-3, atol=1e-3)])
    with pytest.raises(fxt.EquivalentViolation):
        fxt.check_pass(nudge, model, [torch.ones(3, 2)], laws=[fxt.Equivalent()])


def test_of_all_state_that_differs_the_first_is_named() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for index in range(8):
                self.register_buffer(f"count_{index}", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for buffer in self.buffers():
                buffer.add_(x.sum())
            return x

    def drop_writes(graph_module: fx.GraphModule) -> None:
        for node in reversed(graph_module.graph.find_nodes(op="call_method", target="add_")):
            graph_module.graph.erase_node(node)
        graph_module.recompile()

    traced = fx.symbolic_trace(Counts())
    assert len(traced.graph.find_nodes(op="call_method", target="add_")) == 8
    with pytest.raises(fxt.EquivalentViolation, match="after the run, 'count_0' differs"):
        fxt.check_pass(drop_writes, traced, (torch.ones(2),), laws=[fxt.Equivalent()])


def test_a_name_that_a_pass_chose_need_not_survive_a_pickle_which_is_a_new_trace() -> None:
    def copy_what_relu_returns(graph_module: fx.GraphModule) -> None:
        for node in graph_module.graph.find_nodes(op="call_function", target=torch.relu):
            with graph_module.graph.inserting_after(node):
                copied = graph_module.graph.create_node("call_method", "clone", (node,), name="kept")
            node.replace_all_uses_with(copied, delete_user_cb=lambda user, copied=copied: user is not copied)

    fxt.check_pass(copy_what_relu_returns, CASE, laws=[fxt.SurvivesCopying()])


class _ReturnsWhatIsWrittenLater(NameNodes):
    """Returns the sum, into which the last operation writes through another shape."""

    outputs_claim = "subset"

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        nodes = {node.name: node for node in graph_module.graph.nodes}
        graph_module.graph.output_node().args = ([nodes["add"], nodes["square_"]],)
        return PassResult(graph_module, True)


def test_a_value_of_a_subset_may_be_written_into_after_it_was_made() -> None:
    model = fx.symbolic_trace(lambda x: torch.square_((x + 1).flatten()))
    fxt.check_pass(_ReturnsWhatIsWrittenLater(), model, [torch.ones(2, 2)], laws=[fxt.OutputsAsClaimed()])


def test_a_value_of_a_subset_was_there_before() -> None:
    class AndChangesIt(_ReturnsWhatIsWrittenLater):
        def call(self, graph_module: fx.GraphModule) -> PassResult:
            next(node for node in graph_module.graph.nodes if node.name == "add").target = operator.sub
            return super().call(graph_module)

    model = fx.symbolic_trace(lambda x: torch.square_((x + 1).flatten()))
    with pytest.raises(fxt.OutputsViolation, match=r"'add', which is .*, is no value that the graph had before"):
        fxt.check_pass(AndChangesIt(), model, [torch.ones(2, 2)], laws=[fxt.OutputsAsClaimed()])
