"""`script_of`: a script that shows what a pipeline does wrong, with all that it needs inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from fxpasses.graph.divergence import shortened
from fxpasses.manager.blaming.judge import Judgement, Wrong
from fxpasses.manager.blaming.literals import Expressions
from fxpasses.manager.names import pass_name
from fxpasses.manager.pass_manager import PassManager

_TEMPLATE = '''"""{headline}

Written by fxpasses.blame; run it with Python. It needs torch, fxpasses and the package of the pass.
"""

{imports}
from torch import fx, nn

from fxpasses.manager import PassManager
from fxpasses.manager.blaming.judge import Judgement

PIPELINE = {pipeline}


def make_graph_module():
    torch.manual_seed({seed})
    root = nn.Module()
    root.training = {training}
{modules}
    graph = fx.Graph()
    v = {{}}
{nodes}
    graph_module = fx.GraphModule(root, graph)
{attached}    return graph_module


def make_inputs():
    torch.manual_seed({seed})
    return {inputs}


def place(root, path, value):
    *containers, name = path.split(".")
    for container in containers:
        if not hasattr(root, container):
            root.add_module(container, nn.Module())
        root = getattr(root, container)
    setattr(root, name, value)


if __name__ == "__main__":
    judgement = Judgement(make_inputs(), seed={run_seed}, atol={atol}, rtol={rtol})
    wrong = judgement.judge(PassManager.parse(PIPELINE), make_graph_module())
    if wrong is None:
        print("Nothing is wrong any more.")
    else:
        print(wrong.text, "expected: " + str(wrong.expected), "got: " + str(wrong.got), sep="\\n")
        raise SystemExit(1)
'''


def script_of(manager: PassManager, graph_module: fx.GraphModule, judgement: Judgement, wrong: Wrong) -> str:
    """Returns the script.

    Parameters and inputs are made at random by their shapes if the same is wrong with those; otherwise the script
    holds them, and what is attached to the graph module as far as it can be pickled. What it says is expected and
    there is what it prints when it is run.

    Args:
        manager: The pipeline.
        graph_module: The graph on which it goes wrong.
        judgement: The inputs, and how results are compared.
        wrong: What is wrong.
    """
    script = _Writer(exact=False).script(manager, graph_module, judgement, wrong)
    shown = _shown(script, manager, judgement)
    if shown is None or shown.kind != wrong.kind:
        return _Writer(exact=True).script(manager, graph_module, judgement, wrong)
    return _Writer(exact=False).script(manager, graph_module, judgement, shown)


def _shown(script: str, manager: PassManager, judgement: Judgement) -> Wrong | None:
    """Returns what is wrong with the graph and the inputs that a script makes."""
    names: dict[str, Any] = {"__name__": "reproducer"}
    with torch.random.fork_rng(devices=[]):
        exec(compile(script, "reproducer", "exec"), names)
        graph_module, inputs = names["make_graph_module"](), names["make_inputs"]()
    try:
        return replace(judgement, inputs=inputs).judge(manager, graph_module)
    except Exception:  # other parameters may make the graph fail to run
        return None


class _Writer:
    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.expressions = Expressions()

    def script(self, manager: PassManager, graph_module: fx.GraphModule, judgement: Judgement, wrong: Wrong) -> str:
        headline = f"{', '.join(map(pass_name, manager.passes))}: {wrong.text}".replace('"""', "'''").replace("\\", "/")
        modules = "\n".join(f"    {line}" for line in self._modules(graph_module))
        nodes = "\n".join(f"    {line}" for node in graph_module.graph.nodes for line in self._node(node))
        inputs = f"({''.join(self._input(value) + ', ' for value in judgement.inputs).strip()})"
        attached = "".join(f"    {line}\n" for line in self._attached(graph_module))
        got = f"# expected: {shortened(wrong.expected)}\n# got: {shortened(wrong.got)}\n"
        return _TEMPLATE.format(
            headline=headline,
            imports="\n".join(f"import {name}" for name in sorted(self.expressions.imports)),
            pipeline=f"{str(manager)!r}\n{got.rstrip()}",
            seed=judgement.seed,
            run_seed=judgement.seed,
            atol=judgement.atol,
            rtol=judgement.rtol,
            training=graph_module.training,
            modules=modules,
            nodes=nodes,
            attached=attached,
            inputs=inputs,
        )

    def _modules(self, graph_module: fx.GraphModule) -> Iterator[str]:
        seen: set[object] = set()
        for node in graph_module.graph.nodes:
            if node.op not in ("call_module", "get_attr") or node.target in seen:
                continue
            seen.add(node.target)
            value = graph_module
            for name in str(node.target).split("."):
                value = getattr(value, name)
            yield f"place(root, {node.target!r}, {self._held(value)})"
            if isinstance(value, nn.Module):
                yield f"root.get_submodule({node.target!r}).train({value.training})"

    def _held(self, value: object) -> str:
        if isinstance(value, nn.Module):
            return self.expressions.pickled(value) if self.exact else self.expressions.of_module(value)
        if isinstance(value, nn.Parameter):
            return f"nn.Parameter({self._tensor(value)}, requires_grad={value.requires_grad})"
        return self._tensor(value) if isinstance(value, torch.Tensor) else self.expressions.of(value)

    def _node(self, node: fx.Node) -> Iterator[str]:
        target = repr(node.target) if isinstance(node.target, str) else self.expressions.of_function(node.target)
        parts = [
            repr(node.op),
            target,
            self.expressions.of(node.args),
            self.expressions.of(node.kwargs),
            repr(node.name),
        ]
        yield f"v[{node.name!r}] = graph.create_node({', '.join(parts)})"
        if "custom" in node.meta:
            yield f"v[{node.name!r}].meta['custom'] = {self.expressions.of(node.meta['custom'])}"
        for key in ("val", "example_value", "tensor_meta"):
            value = node.meta.get(key)
            if isinstance(value, (torch.Tensor, TensorMetadata)):
                yield f"v[{node.name!r}].meta[{key!r}] = {self._recorded(value)}"

    def _attached(self, graph_module: fx.GraphModule) -> Iterator[str]:
        for key, value in graph_module.meta.items() if self.exact else ():
            with suppress(Exception):  # whatever a value raises that cannot be pickled: the rest is worth having
                yield f"graph_module.meta[{key!r}] = {self.expressions.pickled(value)}"

    def _recorded(self, value: torch.Tensor | TensorMetadata) -> str:
        empty = f"torch.empty({tuple(value.shape)}, dtype={value.dtype}, device='meta')"
        if isinstance(value, torch.Tensor):
            return empty
        self.expressions.imports.add("torch.fx.passes.shape_prop")
        return f"torch.fx.passes.shape_prop._extract_tensor_metadata({empty})"

    def _input(self, value: object) -> str:
        return self._tensor(value) if isinstance(value, torch.Tensor) else self.expressions.of(value)

    def _tensor(self, value: torch.Tensor) -> str:
        if self.exact:
            return self.expressions.pickled(value.detach())
        shape = tuple(value.shape)
        if value.dtype.is_floating_point or value.dtype.is_complex:
            return f"torch.randn({shape}, dtype={value.dtype})"
        return f"torch.randint(0, 2, {shape}).to({value.dtype})"
