"""Reads the source of a function for its effects: what a call inside it does."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

import torch
from torch import fx, nn

from fxpasses.graph.effects.behaviour import NO_CONTAINER, STATE, UNKNOWN, Behaviour, Key
from fxpasses.graph.effects.functions import behaviour_of_function
from fxpasses.graph.effects.methods import behaviour_of_method, kind_of_attribute
from fxpasses.graph.effects.modules import behaviour_of_module
from fxpasses.graph.effects.source.bind import bind
from fxpasses.graph.effects.source.fold import fold_call
from fxpasses.graph.effects.source.memory import (
    NUMBER,
    STATE_REGION,
    Bound,
    Memory,
    Region,
    Unreadable,
    Value,
    ValueKind,
    item_of,
    join,
    value_of_constant,
)
from fxpasses.graph.effects.source.syntax import definition_of
from fxpasses.graph.effects.source.watched import ATTRIBUTE, Decisions, LookedAt, LookedUp, WatchedValue

_DEPTH = 40
_STEPS = 40_000
_CONSTRUCTORS = (list, dict, tuple, set)
_HARMLESS_PACKAGES = ("torch", "warnings", "logging")

Names = dict[str, Value]


@dataclass(frozen=True, eq=False)
class Super:
    """What `super()` returns: the class after which a method is looked up, and the object it is called on."""

    after: type
    owner: Value


class Arguments(NamedTuple):
    """What a call passes; `spread` says that there may be more, of which `values` holds one for all."""

    args: tuple[Value, ...]
    kwargs: Mapping[str, Value]
    spread: bool = False

    @property
    def values(self) -> tuple[Value, ...]:
        """All arguments."""
        return (*self.args, *self.kwargs.values())

    @property
    def has_memory(self) -> bool:
        """Whether any argument may reach memory that exists outside of the code being read."""
        return any(value.regions for value in self.values)

    def behind(self, first: Value) -> Arguments:
        """Returns the same arguments after a further first one."""
        return Arguments((first, *self.args), self.kwargs, self.spread)

    def visible(self) -> tuple[Sequence[object], Mapping[str, object]]:
        """Returns the arguments themselves, with `UNKNOWN` for what is not known."""
        if WatchedValue in map(type, self.args) or WatchedValue in map(type, self.kwargs.values()):
            return LookedAt(self.args), LookedUp(self.kwargs)
        return [value.constant for value in self.args], {key: value.constant for key, value in self.kwargs.items()}


@dataclass
class Loop:
    """The names as they were at each way out of a loop's body."""

    breaks: list[Names] = field(default_factory=list[Names])
    continues: list[Names] = field(default_factory=list[Names])


@dataclass
class Frame:
    """A function in the middle of being read.

    Attributes:
        names: What each name may be; None where the code cannot be reached.
        tries: What each may be wherever the body of a `try` breaks down, for each that is being read.
    """

    globals: Mapping[str, object]
    closure: Mapping[str, CellType]
    first_parameter: str | None
    site: object
    depth: int
    names: Names | None
    returned: list[Value] = field(default_factory=list[Value])
    loops: list[Loop] = field(default_factory=list[Loop])
    tries: list[Names] = field(default_factory=list[Names])


class Calls(ABC):
    """The calling half of the reader; how a function's body is read is left to subclasses.

    Args:
        memory: What is known of memory, and grows.
        training: The `training` flag to assume for every module; None for either.
        decisions: Watches constants.
        callee: What is called; if it is a module, its own attributes may be watched.
    """

    def __init__(
        self, memory: Memory, training: bool | None, decisions: Decisions | None = None, callee: object = None
    ) -> None:
        self.memory = memory
        self.training = training
        self._decisions = decisions
        self._callee = callee
        self._steps = 0

    def watched_constant(self, key: Hashable) -> Value | None:
        """Returns the value of a constant that is watched, or None for any other."""
        decisions = self._decisions
        return decisions.value(key) if decisions is not None and key in decisions.constants else None

    @abstractmethod
    def run(self, frame: Frame, body: Sequence[Any]) -> None:
        """Reads statements, changing the frame."""

    def step(self) -> None:
        """Counts one step of work, and gives up when there were too many."""
        self._steps += 1
        if self._steps > _STEPS:
            raise Unreadable("too much code")

    def call(self, callee: Value, arguments: Arguments, site: object, depth: int) -> Value:
        """Returns what calling `callee` may evaluate to, and records what it may do."""
        target = callee.constant
        if isinstance(target, Bound):
            return self.call(_unbound(target), arguments.behind(target.owner), site, depth)
        if isinstance(target, nn.Module):
            return self.call_module(target, arguments, site, depth)
        if not callee.is_constant:
            return self.call_unknown((callee, *arguments.values), site)
        folded = None if arguments.spread else fold_call(target, arguments.args, arguments.kwargs)
        return folded if folded is not None else self._call_known(target, arguments, site, depth)

    def _call_known(self, target: Any, arguments: Arguments, site: object, depth: int) -> Value:
        if target is getattr and not arguments.spread:
            found = self.attribute(arguments.args[0], str(arguments.args[1].constant), site, depth)
            default = arguments.args[2] if len(arguments.args) > 2 else NUMBER
            return join([found, default]) if default.regions and not found.is_constant else found
        # What is not seen may tell a function of torch to write (`inplace`, `out`); none of Python has such options.
        is_of_python = isinstance(target, type) or getattr(target, "__module__", None) == "builtins"
        behaviour = (
            behaviour_of_function(target, *arguments.visible()) if is_of_python or not arguments.spread else None
        )
        if behaviour is not None:
            result = self.apply(behaviour, arguments, site)
            return self._container(result, site) if target in _CONSTRUCTORS or _is_dict(target) else result
        return self._call_python(target, arguments, site, depth)

    def _call_python(self, target: Any, arguments: Arguments, site: object, depth: int) -> Value:
        """Goes into what has no rule of its own, as far as there is a way in."""
        if target is torch.compile and arguments.args:
            return arguments.args[0]
        if isinstance(target, functools.partial):
            return self._call_partial(target, arguments, site, depth)
        if _is_autograd_function(target):
            return self.call(self._autograd_function(target.__self__, site), arguments, site, depth)
        if isinstance(target, MethodType):
            owner = value_of_constant(target.__self__)
            return self.call(value_of_constant(target.__func__), arguments.behind(owner), site, depth)
        if isinstance(target, FunctionType) and self._is_worth_reading(target, arguments):
            return self.inline(target, arguments, site, depth)
        has_own_memory = isinstance(inspect.getattr_static(type(target), "__call__", None), FunctionType)
        held = [Value(frozenset([STATE_REGION]))] if has_own_memory or self.memory.state_holds_arguments else []
        if arguments.has_memory or held:
            return self.call_unknown((*arguments.values, *held), site)
        return Value(frozenset([self.memory.region_at(site)]))

    def _is_worth_reading(self, target: FunctionType, arguments: Arguments) -> bool:
        """Whether a function may do anything that matters; one that is given no memory can draw random numbers."""
        package = (target.__module__ or "").partition(".")[0]
        return arguments.has_memory or self.memory.state_holds_arguments or package not in _HARMLESS_PACKAGES

    def _call_partial(self, target: functools.partial[Any], arguments: Arguments, site: object, depth: int) -> Value:
        bound_args = tuple(value_of_constant(each) for each in target.args)
        bound_kwargs = {key: value_of_constant(each) for key, each in target.keywords.items()}
        merged = Arguments((*bound_args, *arguments.args), {**bound_kwargs, **arguments.kwargs}, arguments.spread)
        return self.call(value_of_constant(target.func), merged, site, depth)

    def call_unknown(self, values: Sequence[Value], site: object) -> Value:
        """Applies the policy for opaque callees: they may write, return and store all that they are given."""
        self.memory.random = True
        if not any(value.regions for value in values):
            return Value(frozenset([self.memory.region_at(site)]))
        for value in values:
            self.memory.write(value)
        self.memory.link(values)
        return Value(frozenset([STATE_REGION]).union(*(value.regions for value in values)))

    def call_module(self, module: nn.Module, arguments: Arguments, site: object, depth: int) -> Value:
        """Returns what calling a module may evaluate to; its hooks are taken to run, too."""
        behaviour = behaviour_of_module(module, self.training, *arguments.visible())
        if behaviour is not None:
            result = self.apply(behaviour, arguments, site)
        else:
            owner = Value(frozenset([STATE_REGION]), "any", module)
            result = self.inline(_forward_of(module), arguments.behind(owner), site, depth)
        return self._call_hooks(module, arguments, result, site, depth)

    def _call_hooks(self, module: nn.Module, arguments: Arguments, result: Value, site: object, depth: int) -> Value:
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            received = self._container(join([*arguments.values, NUMBER]), (site, "hook"))
            passed = [value_of_constant(module), received, result]
            takes_result = hook not in module._forward_pre_hooks.values()
            hook_arguments = Arguments(tuple(passed if takes_result else passed[:2]), {})
            result = join([result, self.call(value_of_constant(hook), hook_arguments, (site, id(hook)), depth)])
        return result

    def call_method(self, owner: Value, name: str, arguments: Arguments, site: object) -> Value:
        """Returns what calling a method of a value that is not known itself may evaluate to."""
        with_owner = arguments.behind(owner)
        behaviour = behaviour_of_method(name, *with_owner.visible())
        if behaviour is None:
            return self.call_unknown(with_owner.values, site)
        return self.apply(behaviour, with_owner, site)

    def inline(self, function: object, arguments: Arguments, site: object, depth: int) -> Value:
        """Reads the body of a function that is called with these arguments."""
        if not isinstance(function, FunctionType) or depth > _DEPTH:
            raise Unreadable(f"{function!r} cannot be followed")
        definition = definition_of(function)
        names = bind(function, definition, arguments.args, arguments.kwargs, arguments.spread, self._container, site)
        code = function.__code__
        closure = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        first_parameter = code.co_varnames[0] if code.co_argcount else None
        frame = Frame(function.__globals__, closure, first_parameter, site, depth + 1, names)
        self.run(frame, definition.body)
        ends = [] if frame.names is None else [value_of_constant(None)]
        return join([*frame.returned, *ends]) if frame.returned or ends else NUMBER

    def _container(self, content: Value, site: object) -> Value:
        region = self.memory.region_at(site)
        self.memory.store([region], content.regions)
        return Value(frozenset([region]), "container")

    def apply(self, behaviour: Behaviour, arguments: Arguments, site: object) -> Value:
        """Records what a known call does, and returns what it may evaluate to."""
        self.memory.random |= behaviour.random
        written = self._chosen(behaviour.writes, arguments)
        for value in written:
            self._write(behaviour, value)
        if behaviour.links:
            self._store(written, arguments)
        returned = self._chosen(behaviour.returns, arguments)
        if behaviour.concatenates and any(value.kind in ("tensor", "numeric") for value in arguments.values):
            returned = []
        kind = self._kind(behaviour, arguments)
        regions = frozenset[Region]().union(*(value.regions for value in returned))
        if kind == "any" and not regions:
            regions = frozenset([self.memory.region_at(site)])
        return NUMBER if kind == "none" else Value(regions, kind)

    def _write(self, behaviour: Behaviour, value: Value) -> None:
        changes_items_only = value.kind == "container" and (behaviour.links or behaviour.rebuilds)
        if changes_items_only:
            return
        if behaviour.rebuilds:
            self.memory.rebuilt |= value.regions
        else:
            self.memory.write(value)

    def _store(self, written: Sequence[Value], arguments: Arguments) -> None:
        stored = frozenset[Region]().union(*(value.regions for value in arguments.values))
        for value in written:
            if value.kind not in NO_CONTAINER:
                self.memory.store(value.regions, stored)

    def _chosen(self, keys: frozenset[Key], arguments: Arguments) -> list[Value]:
        chosen = [Value(frozenset([STATE_REGION]))] if STATE in keys else []
        if keys - {STATE} and arguments.spread:
            return [*chosen, *arguments.values]
        chosen += [value for position, value in enumerate(arguments.args) if position in keys]
        return chosen + [value for key, value in arguments.kwargs.items() if key in keys]

    def _kind(self, behaviour: Behaviour, arguments: Arguments) -> ValueKind:
        if behaviour.kind not in ("first", "item"):
            return behaviour.kind
        first = arguments.values[0] if arguments.values else Value()
        return first.kind if behaviour.kind == "first" else item_of(first).kind

    def attribute(self, owner: Value, name: str, site: object, depth: int) -> Value:
        """Returns what an attribute of a value may be, without running any code of its class."""
        constant = owner.constant
        if isinstance(constant, nn.Module):
            return self._module_attribute(constant, owner, name, site, depth)
        if isinstance(constant, Super):
            return self._inherited(constant, name)
        if isinstance(constant, ModuleType):
            return value_of_constant(getattr(constant, name)) if hasattr(constant, name) else Value()
        if isinstance(constant, type):
            return self._class_attribute(constant, owner, name, site)
        kind = kind_of_attribute(name, "tensor" if owner.kind == "tensor" else "any")
        return NUMBER if "none" in (kind, owner.kind) else Value(owner.regions, kind)

    def _module_attribute(self, module: nn.Module, owner: Value, name: str, site: object, depth: int) -> Value:
        if name == "training":
            return Value(kind="none", constant=UNKNOWN if self.training is None else self.training)
        if name in self.memory.assigned:
            return Value(owner.regions)
        watched = self.watched_constant((ATTRIBUTE, name)) if module is self._callee else None
        if watched is not None:
            return watched
        for table in (module.__dict__, module._parameters, module._buffers, module._modules):
            if name in table:
                return value_of_constant(cast("Mapping[str, object]", table)[name])
        return self._class_attribute(type(module), owner, name, site, depth)

    def _class_attribute(self, cls: type, owner: Value, name: str, site: object, depth: int = 0) -> Value:
        if issubclass(cls, torch.autograd.Function) and name == "apply":
            return self._autograd_function(cls, site)
        found = inspect.getattr_static(cls, name, UNKNOWN)
        if isinstance(found, staticmethod):
            return value_of_constant(found.__func__)
        if isinstance(found, classmethod):
            return Value(owner.regions, "any", Bound(found.__func__, value_of_constant(cls)))
        if owner.constant is cls or not isinstance(found, FunctionType | property):
            return value_of_constant(found) if found is not UNKNOWN else Value(owner.regions)
        if isinstance(found, property):
            return self.inline(found.fget, Arguments((owner,), {}), site, depth)
        return Value(owner.regions, "any", Bound(found, owner))

    def _autograd_function(self, cls: type[torch.autograd.Function], site: object) -> Value:
        if cls.setup_context is not torch.autograd.Function.setup_context:
            raise Unreadable(f"{cls.__name__} sets up its context apart from its forward")
        context = Value(frozenset([self.memory.region_at((site, "context"))]))
        return Value(context.regions, "any", Bound(inspect.getattr_static(cls, "forward").__func__, context))

    def _inherited(self, found: Super, name: str) -> Value:
        order = type(found.owner.constant).__mro__
        for cls in order[order.index(found.after) + 1 :]:
            function = cls.__dict__.get(name)
            if isinstance(function, FunctionType):
                return Value(found.owner.regions, "any", Bound(function, found.owner))
        raise Unreadable(f"super().{name} cannot be found")


def _is_autograd_function(target: object) -> bool:
    """Whether a function is the `apply` of a `torch.autograd.Function`."""
    owner = getattr(target, "__self__", None)
    is_function = isinstance(owner, type) and issubclass(owner, torch.autograd.Function)
    return is_function and getattr(target, "__name__", None) == "apply"


def _unbound(method: Bound) -> Value:
    return value_of_constant(method.function)


def _is_dict(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, dict)


def _forward_of(module: nn.Module) -> object:
    if isinstance(module, fx.GraphModule):
        return cast("Any", module.forward).__func__
    own = module.__dict__.get("forward")
    if own is not None or type(module).__call__ is not nn.Module.__call__:
        raise Unreadable(f"{type(module).__name__} does not run the forward of its class")
    return cast("Callable[..., Any]", inspect.getattr_static(type(module), "forward", None))
