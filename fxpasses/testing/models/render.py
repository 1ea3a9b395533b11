"""Writing a program as Python source: classes a person would write, then the module and its inputs."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fxpasses.testing.models.program import (
    Alias,
    Assign,
    Attribute,
    Block,
    Branch,
    Call,
    Child,
    Construct,
    Container,
    Literally,
    Local,
    Loop,
    Member,
    ModeFlag,
    Parameter,
    Program,
    Step,
    TensorMember,
    TensorSource,
    Tie,
)
from fxpasses.testing.models.tensors import expression_of

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "gt": ">", "le": "<=", "xor": "^", "iadd": "+=", "isub": "-=", "imul": "*=",
}  # fmt: skip
AUGMENTED = ("iadd", "isub", "imul")
PREFIX = {"neg": "-", "invert": "~", "abs": "abs"}
INDENT = "    "


def render(program: Program, *, training: bool, seed: int = 0) -> str:
    """The program as a script that defines `module`, `args` and `kwargs`.

    Example:
        >>> from fxpasses.testing.models.interpreter import Spec, interpret
        >>> print(render(interpret(Spec(statements=[bytes(6)])), training=False))
        import torch
        from torch import nn
        <BLANKLINE>
        <BLANKLINE>
        class Model(nn.Module):
            def forward(self, x):
                h1 = torch.relu(x)
                return h1
        <BLANKLINE>
        <BLANKLINE>
        torch.manual_seed(0)
        module = Model().eval()
        args = (torch.linspace(-1.0, 0.9, 6).reshape(2, 3),)
        kwargs = {}
        <BLANKLINE>
    """
    blocks = list(dict.fromkeys(program.blocks))
    body = "\n\n\n".join("\n".join(_class(block)) for block in blocks)
    lines = [f"torch.manual_seed({seed})", f"module = Model().{'train' if training else 'eval'}()"]
    lines += [f"module.get_submodule({path!r}).eval()" for path in program.frozen]
    positional = [_input(each.value) for each in program.inputs if not each.by_keyword]
    named = {each.name: _input(each.value) for each in program.inputs if each.by_keyword and each.value is not None}
    lines.append(f"args = ({', '.join(positional)}{',' if len(positional) == 1 else ''})")
    lines.append(f"kwargs = {{{', '.join(f'{name!r}: {value}' for name, value in named.items())}}}")
    script = "\n".join(lines)
    return "\n".join([*_imports(body + script), *_own_imports(blocks), "", "", body, "", "", script, ""])


def _imports(text: str) -> list[str]:
    lines = ["import torch"]
    if "F." in text:
        lines.append("import torch.nn.functional as F")
    return [*lines, "from torch import nn"]


def _own_imports(blocks: Sequence[Block]) -> list[str]:
    """A user's own operations are written by their dotted paths."""
    targets = {call.target for block in blocks for call in calls_in(block.steps) if call.kind == "function"}
    modules = {target.rpartition(".")[0] for target in targets} - {"torch", "F"}
    return [f"import {module}" for module in sorted(modules)]


def calls_in(expression: Any) -> Iterator[Call]:
    """The calls in an expression or in steps, those in arguments included."""
    if isinstance(expression, Call):
        yield expression
    if isinstance(expression, dict):
        expression = list(expression.values())
    if isinstance(expression, (tuple, list)):
        for item in expression:
            yield from calls_in(item)


def _input(value: Any) -> str:
    if isinstance(value, TensorSource):
        return expression_of(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_input(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_input(item) for item in value) + ")"
    return repr(value)


def _class(block: Block) -> Iterator[str]:
    yield f"class {block.name}(nn.Module):"
    if block.members:
        yield f"{INDENT}def __init__(self):"
        yield f"{INDENT * 2}super().__init__()"
        for member in block.members:
            yield from (INDENT * 2 + line for line in _member(member))
        yield ""
    yield f"{INDENT}def forward(self, {_signature(block.parameters)}):"
    kinds = _container_kinds(block)
    for step in block.steps:
        yield from (INDENT * 2 + line for line in _step(step, kinds))
    yield f"{INDENT * 2}return {expression(block.result, kinds)}"


def _signature(parameters: Sequence[Parameter]) -> str:
    parts: list[str] = []
    for parameter in sorted(parameters, key=lambda parameter: parameter.keyword_only):
        if parameter.keyword_only and "*" not in parts:
            parts.append("*")
        parts.append(parameter.name if parameter.default is None else f"{parameter.name}={parameter.default!r}")
    return ", ".join(parts)


def _container_kinds(block: Block) -> dict[str, str]:
    children = {member.name: member.constructor for member in block.members if isinstance(member, Child)}
    return {name: each.kind for name, each in children.items() if isinstance(each, Container)}


def _is_plain(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _attribute(name: str) -> str:
    return f"self.{name}" if _is_plain(name) else f"getattr(self, {name!r})"


def _assign_attribute(name: str, value: str) -> str:
    return f"self.{name} = {value}" if _is_plain(name) else f"self.add_module({name!r}, {value})"


def _member(member: Member) -> Iterator[str]:
    if isinstance(member, Child):
        yield _assign_attribute(member.name, constructor(member.constructor))
    elif isinstance(member, Alias):
        yield _assign_attribute(member.name, _attribute(member.of))
    elif isinstance(member, Tie):
        yield f"{_attribute(member.child)}.{member.parameter} = {_attribute(member.of)}.{member.parameter}"
    else:
        yield _tensor_member(member)


def _tensor_member(member: TensorMember) -> str:
    value = expression_of(member.source)
    if member.kind == "parameter":
        parameter = f"nn.Parameter({value})"
        if _is_plain(member.name):
            return f"self.{member.name} = {parameter}"
        return f"self.register_parameter({member.name!r}, {parameter})"
    persistent = "" if member.kind == "buffer" else ", persistent=False"
    return f"self.register_buffer({member.name!r}, {value}{persistent})"


def constructor(value: Any) -> str:
    """A module's constructor as an expression."""
    if isinstance(value, Block):
        return f"{value.name}()"
    if isinstance(value, Construct):
        return f"{value.target}({_arguments(value.args, value.kwargs, {})})"
    children = [constructor(child) for _, child in value.children]
    if value.kind == "Sequential":
        return f"nn.Sequential({', '.join(children)})"
    if value.kind == "ModuleList":
        return f"nn.ModuleList([{', '.join(children)}])"
    pairs = zip((key for key, _ in value.children), children, strict=True)
    return f"nn.ModuleDict({{{', '.join(f'{key!r}: {child}' for key, child in pairs)}}})"


def _step(step: Step, kinds: Mapping[str, str]) -> Iterator[str]:
    if isinstance(step, Assign):
        yield _assignment(step, kinds)
    elif isinstance(step, Branch):
        yield "if self.training:"
        yield from (INDENT + _assignment(inner, kinds) for inner in step.train)
        yield "else:"
        yield from (INDENT + _assignment(inner, kinds) for inner in step.otherwise)
    else:
        yield from _loop(step)


def _loop(loop: Loop) -> Iterator[str]:
    if loop.length == 0:
        return
    this = loop.variable
    yield f"for layer in {_attribute(loop.container)}:"
    yield f"{INDENT}{this} = {f'{this} + ' if loop.residual else ''}layer({this})"


def _assignment(step: Assign, kinds: Mapping[str, str]) -> str:
    value = step.value
    if isinstance(value, Call) and value.kind == "operator" and value.target in AUGMENTED:
        return _augmented(step, value, kinds)
    if isinstance(value, Call) and value.target == "setitem":
        target, index, item = value.args
        return f"{expression(target, kinds)}[{_index(index)}] = {expression(item, kinds)}"
    text = expression(value, kinds)
    return f"{', '.join(step.targets)} = {text}" if step.targets else text


def _augmented(step: Assign, call: Call, kinds: Mapping[str, str]) -> str:
    target, other = (expression(argument, kinds) for argument in call.args)
    statement = f"{target} {INFIX[call.target]} {other}"
    return f"{statement}; {step.targets[0]} = {target}" if step.targets else statement


def expression(value: Any, kinds: Mapping[str, str] | None = None) -> str:
    """An expression of a program as Python source.

    Example:
        >>> expression(Call("operator", "add", (Local("x"), 1)))
        'x + 1'
        >>> expression(Call("method", "view", (Local("x"), -1)))
        'x.view(-1)'
    """
    kinds = kinds or {}
    if isinstance(value, Local):
        return value.name
    if isinstance(value, Attribute):
        return _path(value.path)
    if isinstance(value, ModeFlag):
        return "self.training"
    if isinstance(value, Literally):
        return value.source
    if isinstance(value, Call):
        return _call(value, kinds)
    return _structure(value, kinds)


def _structure(value: Any, kinds: Mapping[str, str]) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {expression(item, kinds)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(expression(item, kinds) for item in value) + "]"
    if isinstance(value, tuple):
        inner = ", ".join(expression(item, kinds) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _path(path: str) -> str:
    first, *rest = path.split(".")
    return ".".join([_attribute(first), *rest])


def _call(call: Call, kinds: Mapping[str, str]) -> str:
    if call.kind == "operator":
        return _operator(call, kinds)
    if call.kind == "attribute":
        return f"{_operand(call.args[0], kinds)}.{call.target}"
    if call.kind == "method":
        return f"{_operand(call.args[0], kinds)}.{call.target}({_arguments(call.args[1:], call.kwargs, kinds)})"
    target = call.target if call.kind == "function" else _module(call.target, kinds)
    return f"{target}({_arguments(call.args, call.kwargs, kinds)})"


def _module(path: str, kinds: Mapping[str, str]) -> str:
    name, _, key = path.partition(".")
    if not key:
        return _attribute(name)
    return f"{_attribute(name)}[{key if kinds.get(name) != 'ModuleDict' else repr(key)}]"


def _operator(call: Call, kinds: Mapping[str, str]) -> str:
    operands = [_operand(argument, kinds) for argument in call.args]
    if call.target == "getitem":
        return f"{operands[0]}[{_index(call.args[1])}]"
    if call.target == "abs":
        return f"abs({expression(call.args[0], kinds)})"
    if call.target in PREFIX:
        return f"{PREFIX[call.target]}{operands[0]}"
    return f" {INFIX[call.target]} ".join(operands)


def _operand(value: Any, kinds: Mapping[str, str]) -> str:
    text = expression(value, kinds)
    compound = isinstance(value, Call) and value.kind == "operator" and value.target != "getitem"
    return f"({text})" if compound else text


def _index(index: Any) -> str:
    if isinstance(index, tuple):
        return ", ".join(_index(part) for part in index) + ("," if len(index) == 1 else "")
    if isinstance(index, slice):
        text = f"{_bound(index.start)}:{_bound(index.stop)}"
        return text if index.step is None else f"{text}:{index.step}"
    return "..." if index is Ellipsis else repr(index)


def _bound(value: int | None) -> str:
    return "" if value is None else str(value)


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    positional = [expression(argument, kinds) for argument in args]
    return ", ".join([*positional, *(f"{name}={expression(item, kinds)}" for name, item in kwargs.items())])
