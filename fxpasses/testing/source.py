"""`to_source`: a case or a graph module as a script that runs where only torch is installed."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from fxpasses.testing.case import Case

INDENT = "    "
_LONGEST_LITERAL = 64
_PLAIN_GLOBALS = ("torch", "inf", "nan", "NoneType", "device", "fx_pytree", "pytree")


def to_source(
    origin: Case | fx.GraphModule,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str = "Model",
) -> str:
    """A script that defines `module`, `args` and `kwargs`.

    Modules, parameters and buffers are written out with the values that they have now. A module that is not one of
    `torch.nn` is written as a pickle, which can be loaded where its class can be imported.

    Args:
        origin: A case, whose own script this is, or a graph module.
        args: The inputs of the graph module by position.
        kwargs: The inputs by keyword.
        name: The class's name.

    Example:
        >>> graph_module = fx.symbolic_trace(torch.nn.Sequential(torch.nn.ReLU()))
        >>> print(to_source(graph_module, [torch.ones(2)]))
        import torch
        from torch import device, inf, nan, nn
        <BLANKLINE>
        <BLANKLINE>
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.add_module('0', nn.ReLU())
        <BLANKLINE>
            def forward(self, input):
                input_1 = input
                _0 = getattr(self, "0")(input_1);  input_1 = None
                return _0
        <BLANKLINE>
        <BLANKLINE>
        module = Model()
        args = (torch.tensor([1.0, 1.0]),)
        kwargs = {}
        <BLANKLINE>
    """
    if isinstance(origin, Case):
        return origin.source.strip() + "\n"
    inputs = [f"args = {_expression(tuple(args))}", f"kwargs = {_expression(dict(kwargs or {}))}"]
    return "\n".join([*class_source(origin, name, "module", "\n".join(inputs)), *inputs, ""])


def class_source(graph_module: fx.GraphModule, name: str, variable: str, rest: str = "") -> list[str]:
    """The lines of a script that defines a class and makes an instance of it; `rest` needs its imports too."""
    body = list(_class(graph_module, name))
    made = [f"{variable} = {name}()", *_modes(graph_module, variable)]
    text = "\n".join([*body, *made, rest])
    return [*_imports(graph_module, text), "", "", *body, "", "", *made]


def _modes(graph_module: fx.GraphModule, variable: str) -> Iterator[str]:
    if not graph_module.training:
        yield f"{variable}.eval()"
    for path, each in graph_module.named_modules():
        if each.training != graph_module.training:
            yield f"{variable}.get_submodule({path!r}).training = {each.training}"


def _imports(graph_module: fx.GraphModule, text: str) -> Iterator[str]:
    yield from (f"import {name}" for name in ("base64", "io", "pickle") if f"{name}." in text)
    yield "import torch"
    if "fx_pytree" in text:
        yield "import torch.fx._pytree as fx_pytree"
    if "pytree." in text:
        yield "import torch.utils._pytree as pytree"
    yield "from torch import device, inf, nan, nn"
    if "NoneType" in text:
        yield "from types import NoneType"
    for name, value in graph_module.graph.python_code("self").globals.items():
        if name not in _PLAIN_GLOBALS:
            yield from _import_of(name, value)


def _import_of(name: str, value: Any) -> Iterator[str]:
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module and qualname and "." not in qualname and "<" not in qualname:
        yield f"from {module} import {qualname} as {name}"
    elif hasattr(value, "__name__") and module is None:
        yield f"import {value.__name__} as {name}"
    else:
        yield f"{name} = {value!r}  # cannot be imported"


def _class(graph_module: fx.GraphModule, name: str) -> Iterator[str]:
    yield f"class {name}(nn.Module):"
    members = list(_members(graph_module, "self"))
    if members:
        yield f"{INDENT}def __init__(self):"
        yield f"{INDENT * 2}super().__init__()"
        yield from (INDENT * 2 + line for line in members)
        yield ""
    yield from textwrap.indent(graph_module.code.strip(), INDENT).splitlines()


def _members(module: nn.Module, owner: str) -> Iterator[str]:
    for name, parameter in module._parameters.items():
        if parameter is not None:
            literal = f"nn.Parameter({_expression(parameter.detach())}, requires_grad={parameter.requires_grad})"
            yield f"{owner}.register_parameter({name!r}, {literal})"
    for name, buffer in module._buffers.items():
        if buffer is not None:
            persistent = "" if name not in module._non_persistent_buffers_set else ", persistent=False"
            yield f"{owner}.register_buffer({name!r}, {_expression(buffer)}{persistent})"
    for name, value in module.__dict__.items():
        if isinstance(value, torch.Tensor):
            yield f"{owner}.{name} = {_expression(value)}"
    for name, child in module.named_children():
        yield from _child(name, child, owner)


def _child(name: str, child: nn.Module, owner: str) -> Iterator[str]:
    path = f"{owner}.get_submodule({name!r})"
    if isinstance(child, fx.GraphModule):
        yield f"def _{name}():"
        yield from (INDENT + line for line in _class(child, "Submodule"))
        yield f"{INDENT}return Submodule()"
        yield f"{owner}.add_module({name!r}, _{name}())"
    elif type(child) is nn.Module or _is_container(child):
        yield f"{owner}.add_module({name!r}, nn.Module())"
        yield from _members(child, path)
    else:
        yield f"{owner}.add_module({name!r}, {_constructor(child)})"
        if child.state_dict():
            yield f"{path}.load_state_dict({_expression(dict(child.state_dict()))})"


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _constructor(module: nn.Module) -> str:
    """An expression that makes a module of the same class and options."""
    text = f"nn.{module!r}"
    if getattr(nn, type(module).__name__, None) is type(module):
        try:
            made = eval(text, {"nn": nn, "torch": torch})
        except Exception:  # a repr that is no constructor
            made = None
        if repr(made) == repr(module) and _shapes(made) == _shapes(module):
            return text
    buffer = io.BytesIO()
    torch.save(module, buffer)
    return f"torch.load(io.BytesIO(base64.b64decode({base64.b64encode(buffer.getvalue()).decode()!r})), weights_only=False)"


def _shapes(module: Any) -> dict[str, Any]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in module.state_dict().items()}


def _expression(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_expression(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_expression, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_expression, value))}]"
    return repr(value)


def _tensor(tensor: torch.Tensor) -> str:
    if tensor.numel() <= _LONGEST_LITERAL and not tensor.is_complex() and tensor.layout is torch.strided:
        plain = torch.tensor(tensor.tolist()).dtype is tensor.dtype and tensor.numel() > 0
        dtype = "" if plain else f", dtype={tensor.dtype}"
        text = f"torch.tensor({tensor.tolist()!r}{dtype})"
        return text if tensor.numel() else f"{text}.reshape({list(tensor.shape)})"
    buffer = io.BytesIO()
    torch.save(tensor.detach(), buffer)
    return f"torch.load(io.BytesIO(base64.b64decode({base64.b64encode(buffer.getvalue()).decode()!r})))"
