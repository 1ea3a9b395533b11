"""`CollapseLeaves`: turns what a module call did into one `call_module` node, without tracing again.

Collapsing a fully traced graph gives the names, the order and the values that a trace with those leaves would have
given. Three cases:

1. The call made nodes and returned one of them: they become one node, and its users use that.
2. It returned a tuple or a dict of nodes: each that is used becomes a `getitem` of the one node.
3. It returned what it was given: the one node takes its place for whatever comes after the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from torch import fx, nn

from fxpasses.errors import ArgumentTypeError, UnknownLeafError
from fxpasses.graph.calls import ModuleCall
from fxpasses.graph.collapse import CallCollapser
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.graph.meta import capture_record, set_capture_record
from fxpasses.graph.modules import attribute
from fxpasses.graph.regions import module_calls
from fxpasses.manager import Pass, PassResult

Leaf = type[nn.Module] | str | Callable[[str, type[nn.Module]], bool]


class CollapseResult(PassResult):
    """The outcome of `CollapseLeaves`; `collapsed` holds the keys of the calls that became one node each."""

    collapsed: tuple[str, ...]


@dataclass(frozen=True)
class CollapseLeaves(Pass):
    """Turns each call of a leaf into one `call_module` node of the original module.

    Of nested leaves the outermost counts. Changes the graph in place; the modules come from the capture's record.

    Attributes:
        leaves: Classes (subclasses count), paths of modules, or predicates `f(path, module_class) -> bool`.
        root: Where to find the modules of a graph without a capture record, such as one of `torch.fx.symbolic_trace`.

    Example:
        >>> from fxpasses.capture import capture_symbolic
        >>> graph_module = capture_symbolic(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU()))
        >>> CollapseLeaves(["0"])(graph_module).collapsed
        ('0',)
        >>> [str(node.target) for node in graph_module.graph.nodes]
        ['input', '0', '1', 'output']
    """

    leaves: tuple[Leaf, ...]
    root: nn.Module | None = None

    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES, CALLS})

    def __init__(self, leaves: Iterable[Leaf], root: nn.Module | None = None) -> None:
        """Takes the leaves; see the class."""
        if isinstance(leaves, (str, type)) or not isinstance(leaves, Iterable):
            raise ArgumentTypeError(f"CollapseLeaves takes a list of classes, paths or predicates, got {leaves!r}.")
        object.__setattr__(self, "leaves", tuple(leaves))
        object.__setattr__(self, "root", root)

    def call(self, graph_module: fx.GraphModule) -> CollapseResult:
        """Collapses every call of a leaf.

        Raises:
            UnknownLeafError: A class or path that nothing in the graph belongs to.
            CollapseError: A value inside a call is used outside of it, or the original module cannot be found.
        """
        collapsed = collapse_leaves(graph_module, self.leaves, self.root)
        return CollapseResult(graph_module, bool(collapsed), collapsed=collapsed)


def collapse_leaves(
    graph_module: fx.GraphModule, leaves: Iterable[Leaf], root: nn.Module | None = None
) -> tuple[str, ...]:
    """Collapses the calls of `leaves` in `graph_module`, in place; see `CollapseLeaves`.

    Returns:
        The keys of the collapsed calls, in the order in which they began.
    """
    calls = module_calls(graph_module)
    chosen, kept = _outermost(calls, _matching(graph_module, calls, tuple(leaves)))
    if not chosen:
        return ()
    record = capture_record(graph_module)
    root = root if record is None or root is not None else record.model
    collapser = CallCollapser(graph_module, calls, chosen, kept, root)
    for call in chosen:
        collapser.check(call)
    for call in chosen:
        collapser.collapse(call)
    if record is not None:
        kept = tuple(replace(call, **collapser.updated(call)) for call in kept)
        set_capture_record(graph_module, replace(record, calls=kept))
    return tuple(call.key for call in chosen)


def _matching(graph_module: fx.GraphModule, calls: tuple[ModuleCall, ...], leaves: tuple[Leaf, ...]) -> set[str]:
    matching: set[str] = set()
    for leaf in leaves:
        found = {call.key for call in calls if _is_match(leaf, call.path, call.module_type)}
        if not found and not _is_predicate(leaf) and not _is_leaf_already(graph_module, leaf):
            raise UnknownLeafError(_unknown(leaf, calls))
        matching |= found
    return matching


def _is_predicate(leaf: Leaf) -> bool:
    # One that matches nothing is no mistake, unlike a class or a path.
    return not isinstance(leaf, (str, type))


def _is_match(leaf: Leaf, path: str, module_type: type[nn.Module]) -> bool:
    if isinstance(leaf, str):
        return leaf == path
    if isinstance(leaf, type):
        return issubclass(module_type, leaf)
    return leaf(path, module_type)


def _is_leaf_already(graph_module: fx.GraphModule, leaf: Leaf) -> bool:
    modules = {str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"}
    return any(_is_match(leaf, path, cast("type[nn.Module]", type(attribute(graph_module, path)))) for path in modules)


def _unknown(leaf: Leaf, calls: tuple[ModuleCall, ...]) -> str:
    asked = f"the path {leaf!r}" if isinstance(leaf, str) else f"the class {getattr(leaf, '__name__', leaf)}"
    kinds = sorted({call.module_type.__name__ for call in calls})
    return (
        f"No module call of the graph belongs to {asked}. Calls that were traced through: {', '.join(kinds) or 'none'}."
    )


def _outermost(
    calls: tuple[ModuleCall, ...], matching: set[str]
) -> tuple[tuple[ModuleCall, ...], tuple[ModuleCall, ...]]:
    """Returns the matching calls that are not inside another one, and the calls that are neither nor inside one."""
    covered: set[str] = set()
    chosen: list[ModuleCall] = []
    kept: list[ModuleCall] = []
    for call in calls:  # a parent's call begins before those inside it
        if call.parent in covered:
            covered.add(call.key)
        elif call.key in matching:
            covered.add(call.key)
            chosen.append(call)
        else:
            kept.append(call)
    return tuple(chosen), tuple(kept)
