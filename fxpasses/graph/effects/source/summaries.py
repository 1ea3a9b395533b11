"""`Summaries`: what the source of callees tells, read once for all calls that come to the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import fx, nn

from fxpasses.graph.effects.behaviour import Behaviour, Kind
from fxpasses.graph.effects.source.memory import PLAIN_TYPES
from fxpasses.graph.effects.source.summary import behaviour_from_source
from fxpasses.graph.effects.source.watched import ATTRIBUTE, Constants, Decisions
from fxpasses.graph.module_tree import ModuleTree

_MOST_READINGS = 8
"""How many readings of one callee are looked through, for calls that differ in what they decide."""

_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)


class Summaries:
    """What the source of callees tells, remembered for further calls.

    A reading serves a call that passes the same kinds of values to the same function, or to a module that looks the
    same, with constants for which the source decides the same. What a module does may be another thing once it was
    changed: good for as long as nobody does that.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Behaviour] = {}
        self._readings: dict[Hashable, list[tuple[Decisions, Behaviour]]] = {}
        self._shapes: dict[int, tuple[Hashable, Constants]] = {}
        self._kept: list[object] = []  # keeps alive what the keys tell apart by identity

    def behaviour(self, callee: Any, training: bool | None, node: fx.Node, kinds: Mapping[fx.Node, Kind]) -> Behaviour:
        """Returns what calling `callee` as `node` does may do; its source is read where no earlier reading serves."""
        constants: dict[Hashable, object] = {}
        pattern: list[Hashable] = [training]
        for key, argument in [*enumerate(node.args), *node.kwargs.items()]:
            pattern.append((key, _pattern(key, argument, kinds, constants)))
        call = (id(callee), *pattern, *constants.values())
        if call not in self._found:
            self._kept.append((callee, node.args, node.kwargs))
            shape, attributes = self._shape(callee)
            key = (shape, *pattern)
            self._found[call] = self._read(key, {**constants, **attributes}, callee, training, node, kinds)
        return self._found[call]

    def _read(
        self,
        key: Hashable,
        constants: Constants,
        callee: Any,
        training: bool | None,
        node: fx.Node,
        kinds: Mapping[fx.Node, Kind],
    ) -> Behaviour:
        readings = self._readings.setdefault(key, [])
        for decisions, behaviour in readings:
            if decisions.hold_for(constants):
                return behaviour
        decisions = Decisions(constants)
        behaviour = behaviour_from_source(callee, training, node.args, node.kwargs, kinds.__getitem__, decisions)
        if decisions.are_few:
            readings.insert(0, (decisions, behaviour))
            del readings[_MOST_READINGS:]
        return behaviour

    def _shape(self, callee: object) -> tuple[Hashable, Constants]:
        if not isinstance(callee, nn.Module):
            return id(callee), {}
        if id(callee) not in self._shapes:
            self._shapes[id(callee)] = shape_of_module(callee)
        return self._shapes[id(callee)]


def _pattern(
    key: Hashable, argument: object, kinds: Mapping[fx.Node, Kind], constants: dict[Hashable, object]
) -> Hashable:
    """Returns what the reader gets to see of an argument beside the constants, so that equal patterns mean equal readings."""
    if isinstance(argument, fx.Node):
        return ("node", kinds[argument])
    if type(argument) in PLAIN_TYPES:
        constants[key] = argument
        return type(argument)
    if isinstance(argument, list | dict) or _has_nodes(argument):
        return "container"  # it may be changed on the way, so nothing in it counts as known
    return _identity(argument)


def _has_nodes(argument: object) -> bool:
    found: list[fx.Node] = []
    fx.map_arg(cast("Any", argument), found.append)
    return bool(found)


def _identity(constant: object) -> Hashable:
    """Returns what tells a constant apart: what it is if it is plain, which object it is otherwise."""
    if isinstance(constant, tuple):
        return (type(constant), *map(_identity, cast("Sequence[object]", constant)))
    return (type(constant), constant) if type(constant) in PLAIN_TYPES else id(constant)


def shape_of_module(module: nn.Module) -> tuple[Hashable, Constants]:
    """Returns what a reader gets to see of a module, in two parts.

    Returns:
        Its class and those of the modules below it, with their attributes, as something that is equal for modules which
        look the same; and, by their keys in a reading, its own plain attributes, which are not in the first part.

    Example:
        >>> layers = [nn.Sequential(nn.Linear(2, 2), nn.Dropout(p)) for p in (0.1, 0.1, 0.2)]
        >>> one, same, other = (shape_of_module(layer)[0] for layer in layers)
        >>> one == same, one == other
        (True, False)
    """
    tree = ModuleTree.of(module)
    if any(map(_is_of_its_own, tree.paths)):
        return id(module), {}
    # The rules for modules of `torch.nn` look at attributes by themselves.
    is_ruled = type(module).__module__.startswith("torch.nn.modules.")
    watched = {} if is_ruled else {name: each for name, each in _attributes(module) if type(each) in PLAIN_TYPES}
    shapes = [(path, _own_shape(each, watched if each is module else {})) for each, path in tree.paths.items()]
    return (*shapes, *tree.aliases.items()), {(ATTRIBUTE, name): value for name, value in watched.items()}


def _is_of_its_own(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or isinstance(module, torch.jit.ScriptModule)


def _attributes(module: nn.Module) -> list[tuple[str, object]]:
    return [(name, value) for name, value in module.__dict__.items() if name not in _OF_EVERY_MODULE]


def _own_shape(module: nn.Module, watched: Mapping[str, object]) -> Hashable:
    attributes = [(name, type(value) if name in watched else _look(value)) for name, value in _attributes(module)]
    tables: tuple[Mapping[str, object], ...] = (module._parameters, module._buffers, module._modules)
    return (
        type(module),
        *attributes,
        *(tuple((name, each is None) for name, each in table.items()) for table in tables),
    )


def _look(attribute: object) -> Hashable:
    """Returns what a reader gets to see of an attribute: of a list or a dict, that it is one."""
    if type(attribute) in (list, dict, set) or isinstance(attribute, torch.Tensor):
        return type(attribute)
    return _identity(attribute)
