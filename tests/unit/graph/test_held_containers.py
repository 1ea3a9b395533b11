"""Generated code looks up a container once, and computes what torch's own code computes."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
import torch
from support.oracle import assert_bit_equal
from torch import fx, nn

from fxpasses.capture import capture_symbolic
from fxpasses.graph.held_containers import held_containers, hold_containers
from fxpasses.graph.lazy_graph_module import LazyGraphModule


class _Scales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("count", torch.tensor(0.0))
        self.shift = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count = self.count + 1
        return self.shift(x * self.scale) + self.count


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Tanh(), _Scales()), nn.Sigmoid())
    return nn.Sequential(inner, nn.ModuleDict({"torch": _Scales()})["torch"], nn.Linear(3, 3), inner)


def _plain_code(graph: fx.Graph) -> Any:
    namespace = dict(graph.python_code("self").globals)
    exec(graph.python_code("self").src, namespace)
    return namespace["forward"]


def test_the_code_computes_what_torchs_own_code_computes() -> None:
    x = torch.randn(2, 3)
    captured, other = capture_symbolic(_model()), capture_symbolic(_model())
    for _ in range(2):
        assert_bit_equal(captured(x), _plain_code(other.graph)(other, x))


def test_each_container_is_looked_up_once_and_nothing_else_is_held() -> None:
    captured = capture_symbolic(_model())
    names = {node.name for node in captured.graph.nodes}
    defined = re.findall(r"^ +(\w+) = (.+?);?$", captured.code, re.MULTILINE)
    assert [expression for name, expression in defined if name not in names] == [
        'getattr(self, "0")', 'getattr(_0, "1")', 'getattr(_0_1, "2")', 'getattr(self, "1")',
    ]  # fmt: skip
    assert captured.code.count("self.") + captured.code.count("(self, ") == 4


def test_a_graph_without_nodes_has_code_as_well() -> None:
    assert LazyGraphModule(nn.Module(), fx.Graph())() is None


def test_only_the_code_of_the_block_is_changed() -> None:
    graph = fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()))).graph
    before = graph.python_code("self").src
    with held_containers(graph):
        assert graph.python_code("self").src != before
    assert graph.python_code("self").src == before


def test_a_name_that_the_code_uses_is_never_taken() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.torch = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            self.x = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.x(self.torch(torch.cat([x, x])))) + x.sum()

    model = Named()
    assert_bit_equal(capture_symbolic(model)(torch.ones(1, 2)), model(torch.ones(1, 2)))


def test_a_module_that_is_replaced_counts_from_the_next_call_on() -> None:
    captured = capture_symbolic(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh())))
    captured(torch.ones(1))
    captured.get_submodule("0").add_module("1", nn.Identity())
    assert captured(torch.tensor([2.0])) == 2
    captured.add_module("0", nn.Sequential(nn.Tanh(), nn.Identity()))
    assert captured(torch.tensor([2.0])) == torch.tanh(torch.tensor(2.0))


def test_the_transformer_of_somebody_else_is_left_alone() -> None:
    captured = capture_symbolic(nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh())))
    captured.graph.on_generate_code(lambda _: lambda body: ["seen = 1\n", *body])
    captured.recompile()
    assert "seen = 1" in captured.code
    assert captured.code.count('getattr(self, "0")') == 2


def test_each_line_still_belongs_to_its_node() -> None:
    captured = capture_symbolic(_model())
    lines = captured.code.splitlines()
    nodes = list(captured.graph.nodes)
    found: list[str] = []
    for number, index in captured._lineno_map.items():
        defined = re.match(r" +(\w+) = ", lines[captured._prologue_start + number - 1])
        if defined and defined[1] in {node.name for node in nodes}:
            assert nodes[index].name == defined[1]
            found.append(defined[1])
    assert found == [node.name for node in nodes if node.op != "output"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_scripted_compiled_copied_and_retraced_it_computes_the_same() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Tanh())), nn.Linear(3, 3)).eval()
    captured, x = capture_symbolic(model), torch.randn(2, 3)
    for other in (
        torch.jit.script(captured),
        torch.compile(captured, backend="eager", fullgraph=True),
        pickle.loads(pickle.dumps(captured)),
        fx.symbolic_trace(captured),
        fx.Transformer(captured).transform(),
    ):
        assert_bit_equal(other(x), model(x))


def _two_calls() -> list[fx.Node]:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.create_node("call_function", torch.seed, name="outer_block")
    for name in ("act", "norm"):
        graph.create_node("call_module", f"outer.block.{name}", (x,), name=name)
    return list(graph.nodes)


def test_code_that_a_comment_quotes_stays_as_it_is() -> None:
    body = [
        "# COUNTER: 2\n", "act = self.outer.block.act(x)\n", "# again = self.outer.block.act(x)\n",
        "# COUNTER: 3\n", "norm = self.outer.block.norm(x)\n",
    ]  # fmt: skip
    assert hold_containers(body, _two_calls()) == [
        "# COUNTER: 2\n", "outer_block = self.outer.block\n", "act = outer_block.act(x)\n",
        "# again = self.outer.block.act(x)\n", "# COUNTER: 3\n", "norm = outer_block.norm(x)\n",
    ]  # fmt: skip


def test_the_name_of_a_value_that_nothing_uses_is_not_taken() -> None:
    body = [
        "# COUNTER: 1\n", "outer_block = torch.seed()\n", "# COUNTER: 2\n", "act = self.outer.block.act(x)\n",
        "# COUNTER: 3\n", "norm = self.outer.block.norm(x)\n",
    ]  # fmt: skip
    assert "outer_block_ = self.outer.block\n" in hold_containers(body, _two_calls())


def test_containers_whose_paths_are_spelled_alike_are_told_apart() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict({"b": nn.Sequential(nn.ReLU(), nn.Tanh())})})
    model["a_b"] = nn.Sequential(nn.Sigmoid(), nn.Softplus())

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.a_b = model["a"], model["a_b"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for first, second in zip(self.a["b"], self.a_b, strict=True):
                x = second(first(x))
            return x

    x = torch.randn(3)
    assert_bit_equal(capture_symbolic(Both())(x), Both()(x))
