"""Building a program as a graph module directly: nothing is traced, and no forward runs."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxpasses.graph.new_node import new_node
from fxpasses.testing.models.build_modules import Blueprint, build_modules
from fxpasses.testing.models.op_spec import resolve
from fxpasses.testing.models.program import (
    Assign,
    Attribute,
    Block,
    Branch,
    Call,
    Input,
    Literally,
    Local,
    Loop,
    ModeFlag,
    Program,
    Step,
)
from fxpasses.testing.models.recorded import recorded_keywords
from fxpasses.testing.models.tensors import structure_of

Scope = dict[str, Any]
# A buffer is a tensor while its operator runs, so that a tracer sees the method behind the operator.
_METHOD_OF_BUFFER = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div"}


def build_graph(program: Program, *, training: bool, seed: int = 0) -> fx.GraphModule:
    """The graph that tracing the program's source would give.

    Each placeholder holds its example input in `meta["example_value"]`, and each node the modules that it was
    called in, in `meta["nn_module_stack"]`, as a tracer records them.

    Example:
        >>> from fxpasses.testing.models.interpreter import Spec, interpret
        >>> print(build_graph(interpret(Spec(statements=[bytes(6)])), training=False).graph)
        graph():
            %x : [num_users=1] = placeholder[target=x]
            %relu : [num_users=1] = call_function[target=torch.relu](args = (%x,), kwargs = {})
            return relu
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        blueprint = build_modules(program, training=training)
    writer = _Writer(fx.Graph(), blueprint)
    arguments = writer.placeholders(program.inputs, program.root)
    result = writer.run(program.root, blueprint.root, arguments)
    writer.graph.output(result)
    return fx.GraphModule(blueprint.root, writer.graph, class_name=program.root.name)


class _Buffer(NamedTuple):
    path: str


def _map_buffers(value: Any, read: Callable[[str], fx.Node]) -> Any:
    if isinstance(value, _Buffer):
        return read(value.path)
    if isinstance(value, dict):
        return {key: _map_buffers(item, read) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_map_buffers(item, read) for item in value)
    return value


@dataclass
class _Writer:
    graph: fx.Graph
    blueprint: Blueprint
    stack: dict[str, tuple[str, type]] = field(default_factory=dict[str, tuple[str, type]])
    calls: dict[str, int] = field(default_factory=dict[str, int])
    parameters: dict[str, fx.Node] = field(default_factory=dict[str, fx.Node])
    reads_buffers: bool = False

    def placeholders(self, inputs: Sequence[Input], root: Block) -> Scope:
        """Write the inputs in the order of the signature."""
        values = {each.name: each.value for each in inputs}
        scope: Scope = {}
        for parameter in sorted(root.parameters, key=lambda parameter: parameter.keyword_only):
            defaults = () if parameter.default is None else (parameter.default,)
            node = self.graph.placeholder(parameter.name, None, *defaults)
            value = values[parameter.name]
            node.meta["example_value"] = parameter.default if value is None else structure_of(value)
            scope[parameter.name] = node
        return scope

    def run(self, block: Block, module: nn.Module, scope: Scope) -> Any:
        """Write the forward of a block that is called with these arguments."""
        for step in block.steps:
            self.step(step, module, scope)
        return self.evaluate(block.result, module, scope)

    def step(self, step: Step, module: nn.Module, scope: Scope) -> None:
        """Write one step."""
        if isinstance(step, Branch):
            for inner in step.train if module.training else step.otherwise:
                self.step(inner, module, scope)
        elif isinstance(step, Loop):
            self.loop(step, module, scope)
        else:
            self.assign(step, module, scope)

    def loop(self, step: Loop, module: nn.Module, scope: Scope) -> None:
        """Write one call for each layer of a ModuleList."""
        for layer in module.get_submodule(step.container).children():
            result = self.call_module(layer, (scope[step.variable],), {})
            before = scope[step.variable]
            scope[step.variable] = (
                self.emit("call_function", operator.add, (before, result)) if step.residual else result
            )

    def assign(self, step: Assign, module: nn.Module, scope: Scope) -> None:
        """Write an expression, and remember its value or the elements of it."""
        value = self.evaluate(step.value, module, scope)
        if len(step.targets) == 1:
            scope[step.targets[0]] = value
        elif isinstance(value, fx.Node):
            for index, name in enumerate(step.targets):
                scope[name] = self.emit("call_function", operator.getitem, (value, index))
        elif step.targets:
            scope.update(zip(step.targets, value, strict=True))

    def evaluate(self, value: Any, module: nn.Module, scope: Scope) -> Any:
        """The node, or the structure of nodes and constants, of an expression."""
        if isinstance(value, Local):
            return scope[value.name]
        if isinstance(value, Attribute):
            return self.attribute(module, value.path)
        if isinstance(value, ModeFlag):
            return module.training
        if isinstance(value, Literally):
            return value.value
        if isinstance(value, Call):
            return self.call(value, module, scope)
        return self.structure(value, module, scope)

    def structure(self, value: Any, module: nn.Module, scope: Scope) -> Any:
        """A constant, or a collection of expressions."""
        if isinstance(value, dict):
            return {key: self.evaluate(item, module, scope) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            items = [self.evaluate(item, module, scope) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def call(self, call: Call, module: nn.Module, scope: Scope) -> Any:
        """Write a call."""
        args = self.structure(tuple(call.args), module, scope)
        kwargs = self.structure(dict(call.kwargs), module, scope)
        if call.kind == "module":
            return self.call_module(module.get_submodule(call.target), args, kwargs)
        if call.kind == "method":
            return self.emit("call_method", call.target, args, kwargs)
        if call.kind == "attribute":
            return self.emit("call_function", builtins.getattr, (*args, call.target))
        if call.kind == "operator":
            return self.operator(call.target, args)
        function = resolve(call.target)
        return self.emit("call_function", function, args, recorded_keywords(function, args, kwargs))

    def operator(self, name: str, args: tuple[Any, ...]) -> Any:
        """Write an operator, or apply it to what a tracer holds as a plain collection."""
        if name == "getitem" and not isinstance(args[0], fx.Node):
            return args[0][args[1]]
        if isinstance(args[0], _Buffer):
            return self.emit("call_method", _METHOD_OF_BUFFER[name], args)
        return self.emit("call_function", getattr(operator, name), args)

    def call_module(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Write the call of a leaf, or the forward of a block or a Sequential."""
        path = self.blueprint.paths[module]
        count = self.calls.get(path, 0)
        self.calls[path] = count + 1
        key = f"{path}@{count}" if count else path
        self.stack[key] = (path, type(module))
        block = self.blueprint.blocks.get(module)
        if block is not None:
            names = [parameter.name for parameter in block.parameters]
            result = self.run(block, module, dict(zip(names, args, strict=True)))
        elif isinstance(module, nn.Sequential):
            result = args[0]
            for child in module.children():
                result = self.call_module(child, (result,), {})
        else:
            result = self.emit("call_module", path, args, kwargs)
        del self.stack[key]
        return result

    def attribute(self, module: nn.Module, path: str) -> fx.Node | _Buffer:
        """The parameter of a module, read once a graph, or a buffer, read where it is used."""
        owner, _, name = path.rpartition(".")
        tensor = getattr(module.get_submodule(owner), name)
        full = self.blueprint.tensors[tensor]
        if not isinstance(tensor, nn.Parameter):
            self.reads_buffers = True
            return _Buffer(full)
        if full not in self.parameters:
            self.parameters[full] = self.emit("get_attr", full)
        return self.parameters[full]

    def emit(
        self, op: str, target: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> fx.Node:
        """Add a node inside of the modules that are being called."""
        keywords = dict(kwargs or {})
        if self.reads_buffers:
            # A tracer sees a buffer only when it is an argument, after the other arguments were computed.
            args, keywords = _map_buffers((args, keywords), lambda path: self.emit("get_attr", path))
        node = new_node(self.graph, op, target, args, keywords)
        if self.stack:
            node.meta["nn_module_stack"] = dict(self.stack)
        return node
