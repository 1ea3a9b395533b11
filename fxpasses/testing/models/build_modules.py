"""Building the modules of a program without their forwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fxpasses.testing.models.op_spec import resolve
from fxpasses.testing.models.program import (
    Alias,
    Block,
    Child,
    Construct,
    Constructor,
    Container,
    Literally,
    Member,
    Program,
    Tie,
)
from fxpasses.testing.models.tensors import value_of


@dataclass
class Blueprint:
    """The modules of a program, with what a tracer would know about them.

    Attributes:
        root: The model; its blocks have children and tensors, but no forward.
        blocks: The block that a module is an instance of.
        paths: The first path of each module.
        tensors: The first path of each parameter and buffer.
    """

    root: nn.Module
    blocks: dict[nn.Module, Block] = field(default_factory=dict[nn.Module, Block])
    paths: dict[nn.Module, str] = field(default_factory=dict[nn.Module, str])
    tensors: dict[torch.Tensor, str] = field(default_factory=dict[torch.Tensor, str])


def build_modules(program: Program, *, training: bool) -> Blueprint:
    """The modules of a program, made in the order in which its source makes them."""
    blocks: dict[nn.Module, Block] = {}
    classes = {block: type(block.name, (nn.Module,), {}) for block in program.blocks}
    root = _block(program.root, classes, blocks).train(training)
    for path in program.frozen:
        root.get_submodule(path).eval()
    paths = {module: path for path, module in root.named_modules()}
    tensors: dict[torch.Tensor, str] = {tensor: path for path, tensor in root.named_buffers()}
    tensors.update({parameter: path for path, parameter in root.named_parameters()})
    return Blueprint(root, blocks, paths, tensors)


def _block(block: Block, classes: Mapping[Block, type], blocks: dict[nn.Module, Block]) -> nn.Module:
    module = classes[block]()
    blocks[module] = block
    for member in block.members:
        _add_member(module, member, classes, blocks)
    return module


def _add_member(
    module: nn.Module, member: Member, classes: Mapping[Block, type], blocks: dict[nn.Module, Block]
) -> None:
    if isinstance(member, Child):
        module.add_module(member.name, _construct(member.constructor, classes, blocks))
    elif isinstance(member, Alias):
        module.add_module(member.name, module.get_submodule(member.of))
    elif isinstance(member, Tie):
        shared = getattr(module.get_submodule(member.of), member.parameter)
        setattr(module.get_submodule(member.child), member.parameter, shared)
    elif member.kind == "parameter":
        module.register_parameter(member.name, nn.Parameter(value_of(member.source)))
    else:
        module.register_buffer(member.name, value_of(member.source), persistent=member.kind == "buffer")


def _construct(constructor: Constructor, classes: Mapping[Block, type], blocks: dict[nn.Module, Block]) -> nn.Module:
    if isinstance(constructor, Block):
        return _block(constructor, classes, blocks)
    if isinstance(constructor, Construct):
        args = [_plain(argument) for argument in constructor.args]
        return resolve(constructor.target)(*args, **{name: _plain(item) for name, item in constructor.kwargs.items()})
    return _container(constructor, {key: _construct(child, classes, blocks) for key, child in constructor.children})


def _container(container: Container, children: Mapping[str, nn.Module]) -> nn.Module:
    if container.kind == "ModuleDict":
        return nn.ModuleDict(children)
    if container.kind == "ModuleList":
        return nn.ModuleList(children.values())
    return nn.Sequential(*children.values())


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Literally) else value
