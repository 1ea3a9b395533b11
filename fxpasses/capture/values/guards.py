"""Guards: what a value capture relies on, checked before the graph runs on other inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxpasses.capture.failure import first_line
from fxpasses.capture.values.decisions import Decision, Place
from fxpasses.capture.values.expressions import COMPARISONS, expression
from fxpasses.capture.values.guard_program import GuardProgram
from fxpasses.capture.values.misfits import misfit
from fxpasses.errors import GuardError

_META_KEY = "fxpasses.guards"
_MOST_REMEMBERED = 4096


Sizes = Sequence[int | range | None]


@dataclass(frozen=True)
class Guard:
    """One decision that the graph relies on.

    Attributes:
        text: The decision as an expression over the graph's arguments and modules.
        kind: The question: `bool`, `int`, `float`, `len`, `keys`, `range`, `dtype`.
        answer: The answer at capture time.
        place: The line of source that asked.
        module: Path of the module whose forward was running.
        node: Name of the deciding node in the guards' own program.
        time: How many nodes the graph had when it was taken: what was recorded earlier does not depend on it.
    """

    text: str
    kind: str
    answer: Any
    place: Place
    module: str
    node: str
    time: int

    @classmethod
    def of(cls, decision: Decision) -> Guard:
        """Makes the guard of a decision."""
        return cls(
            _statement(decision),
            decision.kind,
            decision.answer,
            decision.place,
            decision.module,
            decision.node.name,
            decision.time,
        )

    def __str__(self) -> str:
        if not self.place.file:
            return self.text
        inside = f" in {self.module!r}" if self.module else ""
        return f"{self.text}  ({self.place}{inside}: {self.place.source})"


@dataclass
class GuardSet:
    """All that one captured graph relies on.

    A call with arguments of shapes and types that were seen before costs a dictionary look-up. New ones are
    decided by computing the decisions anew on tensors without data.

    Attributes:
        arguments: Names of the graph's arguments, each with its default, if any, as a tuple of one.
        structure: What each argument was at capture time: constants, containers and tensors, without sizes.
        guards: The decisions.
        program: Computes the decisions; None if there are none.
        sizes: For each leaf of the arguments its fixed sizes, with None for one that may vary, and a range for one that
            may vary within it; empty if all may.
    """

    arguments: Mapping[str, tuple[Any, ...]]
    structure: tuple[Any, ...]
    guards: tuple[Guard, ...]
    program: GuardProgram | None
    sizes: tuple[Sizes | None, ...] = ()
    _fitting: set[Any] = field(default_factory=set[Any], repr=False)

    def __len__(self) -> int:
        return len(self.guards)

    def __str__(self) -> str:
        lines = [str(guard) for guard in self.guards]
        lines += [f"a tensor of shape {_shape(sizes)}" for sizes in self.sizes if sizes and any(sizes)]
        return "\n".join(dict.fromkeys(lines)) or "no guards: nothing was decided on a value"

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises `GuardError` unless the graph computes on these arguments what the model would."""
        if torch.compiler.is_compiling():
            return  # a compiler specialises and guards by itself
        values = self._bound(args, kwargs)
        try:
            key = tuple([_form(value, True) for value in values])
            if key in self._fitting:
                return
        except TypeError:
            return  # symbolic sizes, or a proxy: another tracer is looking
        self._check_structure(values)
        self._check_sizes(values)
        self._check_decisions(values)
        self.remember(key)

    def failure(
        self, graph_module: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> GuardError | None:
        """Returns the error for arguments on which a graph raised, if their sizes are why; None if not.

        Args:
            graph_module: The graph, or what is left of it.
            args: The positional arguments.
            kwargs: The arguments by keyword.
        """
        try:
            values = self._bound(args, kwargs)
            found = misfit(graph_module, values)
        except Exception:  # such as a proxy: another tracer is looking, and what was raised is its own
            return None
        if found is None:
            return None
        return GuardError(
            f"{_sizes(self.arguments, values)} does not fit the model: at {found.name!r} "
            f"{type(found.error).__name__}: {first_line(found.error).rstrip('.')}. Pass inputs of a size that the model takes."
        )

    @classmethod
    def empty(cls) -> GuardSet:
        """Returns guards of nothing, which every call passes."""
        return _NoGuards({}, (), (), None)

    def until(self, position: int) -> GuardSet:
        """Returns the guards that matter for what the graph computes up to its node at `position`."""
        guards = tuple(guard for guard in self.guards if guard.time <= position)
        return replace(self, guards=guards, program=self.program if guards else None, _fitting=set(self._fitting))

    def remember(self, key: Any) -> None:
        """Takes note of arguments that fit."""
        if len(self._fitting) >= _MOST_REMEMBERED:
            self._fitting.clear()
        self._fitting.add(key)

    def _bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        given = dict(zip(self.arguments, args, strict=False))
        unknown = [name for name in kwargs if name not in self.arguments]
        if len(args) > len(self.arguments) or unknown:
            raise GuardError(
                f"captured with the arguments {', '.join(self.arguments)} alone; got "
                + (f"{', '.join(unknown)} as well" if unknown else f"{len(args)} positional ones")
                + ". Capture with an example for each argument that is passed (example_inputs, example_kwargs)."
            )
        given.update(kwargs)
        for name, default in self.arguments.items():
            if name not in given and not default:
                raise GuardError(f"captured with the argument {name!r}, which this call does not pass.")
        return [given[name] if name in given else default[0] for name, default in self.arguments.items()]

    def _check_structure(self, values: Sequence[Any]) -> None:
        for name, expected, value in zip(self.arguments, self.structure, values, strict=True):
            found = _form(value, False)
            if found != expected:
                raise GuardError(
                    f"captured with {name} {_shown(expected)}; got {_shown(found)}. "
                    "Such an argument is a constant of the graph: capture again with an example of the new form."
                )

    def _check_sizes(self, values: Sequence[Any]) -> None:
        found = [leaf for value in values for leaf in pytree.tree_leaves(value)]
        for expected, leaf in zip(self.sizes, found, strict=False):
            if expected is None:
                continue
            if len(expected) != leaf.ndim or not all(map(_allows, expected, leaf.shape)):
                raise GuardError(
                    f"exported for a tensor of shape {_shape(expected)}; got {tuple(leaf.shape)}. "
                    "Name the sizes that may vary in dynamic_shapes, or capture with example inputs of the new shape."
                )

    def _check_decisions(self, values: Sequence[Any]) -> None:
        if self.program is None:
            return
        for guard in self.guards:
            answer = self.program.answer(guard.node, guard.kind, values)
            if isinstance(answer, Exception):
                raise GuardError(
                    f"captured with other sizes, and {_sizes(self.arguments, values)} does not fit: {answer}"
                )
            if answer is not None and answer != (guard.answer,):
                raise GuardError(
                    f"traced with {guard}; got {answer[0]!r} for {_sizes(self.arguments, values)}. "
                    "Capture with example inputs of that size, or pass guards='off' to run it nevertheless."
                )


class _NoGuards(GuardSet):
    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        del args, kwargs

    def failure(self, graph_module: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        del graph_module, args, kwargs


def guards_of(graph_module: fx.GraphModule) -> GuardSet | None:
    """Returns the guards that a value capture attached to its graph module, or None."""
    return cast("GuardSet | None", graph_module.meta.get(_META_KEY))


def set_guards(graph_module: fx.GraphModule, guards: GuardSet | None) -> None:
    """Attaches guards to a graph module; None removes them."""
    graph_module.meta.pop(_META_KEY, None)
    if guards is not None:
        graph_module.meta[_META_KEY] = guards


def guard_set(
    graph_module: fx.GraphModule, decisions: Sequence[Decision], examples: Sequence[Any], *, surely_fit: bool = True
) -> GuardSet:
    """Makes the guards of a captured graph.

    Args:
        graph_module: The graph, in whose modules the decisions are computed.
        decisions: The decisions, each once.
        examples: The example of each placeholder.
        surely_fit: Whether the examples are known to pass; an assertion of the model is not looked at while tracing.
    """
    placeholders = cast("list[fx.Node]", graph_module.graph.find_nodes(op="placeholder"))
    guards = tuple(Guard.of(decision) for decision in decisions)
    program = GuardProgram.of(graph_module, [decision.node for decision in decisions], examples) if decisions else None
    made = GuardSet(
        {str(node.target): tuple(node.args) for node in placeholders},
        tuple(_form(example, False) for example in examples),
        guards,
        program,
    )
    if surely_fit:
        made.remember(tuple(_form(example, True) for example in examples))
    return made


def structure_guards(graph: fx.Graph, examples: Sequence[Any], sizes: Sequence[Sizes | None]) -> GuardSet:
    """Makes the guards of a graph that took no decisions of its own, but fixed some sizes.

    Args:
        graph: The graph.
        examples: The example of each placeholder.
        sizes: See `GuardSet.sizes`.
    """
    arguments = {str(node.target): tuple(node.args) for node in graph.find_nodes(op="placeholder")}
    return GuardSet(arguments, tuple(_form(example, False) for example in examples), (), None, tuple(sizes))


def _form(value: Any, with_sizes: bool) -> Any:
    """Returns what the guards depend on in an argument, as something that can be hashed and compared."""
    if isinstance(value, torch.Tensor):
        return (value.shape, value.dtype) if with_sizes else torch.Tensor
    if isinstance(value, (list, tuple)):
        return (type(value), *[_form(each, with_sizes) for each in cast("Sequence[Any]", value)])
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return (type(value), *[(key, _form(each, with_sizes)) for key, each in items])
    if isinstance(value, fx.Proxy):
        raise TypeError("a proxy has no form")
    if hasattr(value, "__dataclass_fields__"):
        return (type(value), *[(key, _form(each, with_sizes)) for key, each in vars(value).items()])
    return (type(value), value)


def _allows(size: int | range | None, own: int) -> bool:
    return own in size if isinstance(size, range) else size in (None, own)


def _shape(sizes: Sizes) -> str:
    words = [
        f"at least {size.start}" if isinstance(size, range) else str(size).replace("None", "any") for size in sizes
    ]
    return f"({', '.join(words)})"


def _shown(form: Any) -> str:
    if form is torch.Tensor:
        return "a tensor"
    kind, *rest = cast("tuple[Any, ...]", form)
    if len(rest) == 1 and not isinstance(rest[0], tuple) and rest[0] is not torch.Tensor:
        return f"= {rest[0]!r}"
    return f"a {kind.__name__} of {len(rest)}"


def _sizes(names: Mapping[str, Any], values: Sequence[Any]) -> str:
    sized = [
        f"{name} of shape {tuple(value.shape)} and {value.dtype}"
        for name, value in zip(names, values, strict=True)
        if isinstance(value, torch.Tensor)
    ]
    return ", ".join(sized) or "these arguments"


def _statement(decision: Decision) -> str:
    text = expression(decision.node)
    if decision.kind == "bool":
        if decision.node.target in COMPARISONS:
            return text if decision.answer else f"not {text}"
        return f"bool({text}) is {decision.answer}"
    if decision.kind == "dtype":
        text = f"{text}.dtype"
    asked = f"{decision.kind}({text})" if decision.kind in ("len", "keys") else text
    return f"{asked} == {decision.answer!r}"
