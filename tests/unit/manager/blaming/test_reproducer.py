from __future__ import annotations

import ast
import base64
import json
import math
import operator
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from fxpasses.manager import PassLike, PassManager
from fxpasses.manager.blaming.judge import Judgement, Wrong
from fxpasses.manager.blaming.reproducer import script_of


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 40.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(x) * self.weight


def sees_forties(graph_module: fx.GraphModule) -> bool:
    return float(graph_module.weight.detach().sum()) == 120.0


def drops_cos(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.find_nodes(op="call_function", target=torch.cos):
        node.target = torch.sin


def drops_cos_of_forties(graph_module: fx.GraphModule) -> None:
    if sees_forties(graph_module):
        drops_cos(graph_module)


def drops_cos_of_forties_and_fails_otherwise(graph_module: fx.GraphModule) -> None:
    if not sees_forties(graph_module):
        raise ValueError("these are no forties")
    drops_cos(graph_module)


def written(
    pass_: PassLike, graph_module: fx.GraphModule | None = None, inputs: tuple[Any, ...] = (torch.ones(3),)
) -> tuple[str, Wrong]:
    graph_module = graph_module or fx.symbolic_trace(Model())
    manager, judgement = PassManager([pass_]), Judgement(inputs)
    wrong = judgement.judge(manager, graph_module)
    assert wrong is not None
    return script_of(manager, graph_module, judgement, wrong), wrong


def test_tensors_are_made_at_random_where_the_same_goes_wrong_with_those() -> None:
    script, wrong = written(drops_cos)
    assert "torch.load" not in script
    assert "torch.randn((3,), dtype=torch.float32)" in script
    assert wrong.text not in script


@pytest.mark.parametrize("pass_", [drops_cos_of_forties, drops_cos_of_forties_and_fails_otherwise])
def test_tensors_are_kept_where_only_they_show_what_is_wrong(pass_: PassLike) -> None:
    script, wrong = written(pass_)
    assert "torch.randn" not in script
    assert script.count("torch.load") == 2
    assert script.splitlines()[0] == f'"""{pass_.__name__}: {wrong.text}'


def made_by(script: str, maker: str = "make_graph_module") -> Any:
    names: dict[str, Any] = {"__name__": "script"}
    exec(script, names)
    return names[maker]()


def test_the_graph_holds_attributes_of_the_same_kinds() -> None:
    root = nn.Module()
    root.weight, root.frozen = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3), requires_grad=False)
    root.register_buffer("count", torch.tensor([1, 2, 3]))
    root.held = SimpleNamespace(scale=3)
    graph = fx.Graph()
    value = graph.call_function(torch.cos, (graph.placeholder("x"),))
    for path in ("weight", "frozen", "count", "held.scale"):
        value = graph.call_method("mul", (value, graph.get_attr(path)))
    graph.output(value)
    script, _ = written(drops_cos, fx.GraphModule(root, graph))
    assert "torch.load" not in script
    made = made_by(script)
    assert {name: each.requires_grad for name, each in made.named_parameters()} == {"weight": True, "frozen": False}
    assert (type(made.count), made.count.shape, made.count.dtype) == (torch.Tensor, (3,), torch.int64)
    assert made.held.scale == 3


def shape_of(meta: dict[str, Any]) -> tuple[torch.Size, torch.dtype]:
    return meta["tensor_meta"].shape, meta["tensor_meta"].dtype


def test_recorded_shapes_are_there_again() -> None:
    graph_module = fx.symbolic_trace(Model())
    ShapeProp(graph_module).propagate(torch.ones(3))
    cos, mul = (each for each in graph_module.graph.nodes if each.op == "call_function")
    cos.meta["val"], mul.meta["example_value"] = torch.empty(3, device="meta"), torch.ones(3, dtype=torch.float64)
    script, _ = written(drops_cos, graph_module)
    made = {each.name: each.meta for each in made_by(script).graph.nodes}
    assert "import torch.fx.passes.shape_prop\n" in script
    for each in graph_module.graph.nodes:
        assert shape_of(made[each.name]) == shape_of(each.meta)
    assert (made["cos"]["val"].shape, made["cos"]["val"].dtype) == ((3,), torch.float32)
    assert made["cos"]["val"].device.type == "meta"
    assert made["mul"]["example_value"].dtype == torch.float64
    assert "val" not in made["x"]


def test_what_is_attached_to_a_node_for_good_is_there_again() -> None:
    graph_module = fx.symbolic_trace(Model())
    custom = {"name": "cos.0", "made by": (json.dumps, operator.add, ast.parse, math.floor, re.match, base64.b64encode)}
    next(each for each in graph_module.graph.nodes if each.name == "cos").meta["custom"] = custom
    script, _ = written(drops_cos, graph_module)
    assert [each.meta.get("custom") for each in made_by(script).graph.nodes if each.name in ("x", "cos")] == [
        None,
        custom,
    ]
    imports = [line for line in script.splitlines() if line.startswith("import ")]
    assert len(imports) == 7
    assert imports == sorted(imports)


class WithModules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(3, 3), nn.Dropout().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(self.drop(self.linear(self.linear(x))))


def test_modules_are_made_once_each_by_their_constructors_and_are_in_the_same_mode() -> None:
    script, _ = written(drops_cos, fx.symbolic_trace(WithModules()))
    assert "torch.load" not in script
    assert script.count("place(root, 'linear', nn.Linear(") == 1
    made = made_by(script)
    assert (made.linear.training, made.drop.training) == (True, False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_inputs_are_of_the_same_kinds(dtype: torch.dtype) -> None:
    graph_module = fx.symbolic_trace(lambda x, factor: torch.cos(x) * factor)
    script, _ = written(drops_cos, graph_module, (torch.ones(3, dtype=dtype), 3))
    assert "torch.load" not in script
    tensor, factor = made_by(script, "make_inputs")
    assert (tensor.shape, tensor.dtype, factor) == ((3,), dtype, 3)
    assert not {*tensor.tolist()} <= {0, 1}


def raises_a_path(graph_module: fx.GraphModule) -> None:
    raise ValueError('no """C:\\users\\x""" here')


def test_what_an_error_says_does_not_break_the_script() -> None:
    script, _ = written(raises_a_path)
    first = str(ast.get_docstring(ast.parse(script))).splitlines()[0]
    assert first == "raises_a_path: raises_a_path (pass 1) raised ValueError: no '''C:/users/x''' here"


def drops_cos_if_told(graph_module: fx.GraphModule) -> None:
    if graph_module.meta.get("layers") == {"cos": graph_module.meta.get("count")}:
        drops_cos(graph_module)


@pytest.mark.parametrize("pass_", [drops_cos, drops_cos_if_told])
def test_what_is_attached_to_the_graph_module_is_there_again_where_it_takes_that_to_show_it(pass_: PassLike) -> None:
    graph_module = fx.symbolic_trace(Model())
    graph_module.meta.update({"cannot be pickled": lambda: None, "layers": {"cos": 1}, "count": 1})
    script, wrong = written(pass_, graph_module)
    made = made_by(script)
    assert made.meta == ({} if pass_ is drops_cos else {"layers": {"cos": 1}, "count": 1})
    found = Judgement(made_by(script, "make_inputs")).judge(PassManager([pass_]), made)
    assert found is not None
    assert found.kind == wrong.kind
