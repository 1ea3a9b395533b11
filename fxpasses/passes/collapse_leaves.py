"""`CollapseLeaves`: turns what a module call did into one `call_module` node, without tracing again.

Collapsing a fully traced graph gives the names, the order and the values that a trace with those leaves would have
given. Three cases:

1. The call made nodes and returned one of them: they become one node, and its users use that.
2. It returned a tuple or a dict of nodes: each that is used becomes a `getitem` of the one node.
3. It returned what it was given: the one node takes its place for whatever comes after the call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from torch import fx, nn

from fxpasses.errors import ArgumentTypeError, CollapseError, UnknownLeafError
from fxpasses.graph.calls import ModuleCall, NodeRef, Opaque, leaves, map_structure, with_nodes
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.graph.meta import capture_record, set_capture_record, set_name
from fxpasses.graph.modules import attribute, install
from fxpasses.graph.regions import module_calls, regions
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
    chosen = _outermost(calls, _matching(graph_module, calls, tuple(leaves)))
    if chosen:
        _Collapse(graph_module, calls, root).run(chosen)
    return tuple(call.key for call in chosen)


def _matching(graph_module: fx.GraphModule, calls: tuple[ModuleCall, ...], leaves: tuple[Leaf, ...]) -> set[str]:
    matching: set[str] = set()
    for leaf in leaves:
        found = {call.key for call in calls if _is_match(leaf, call.path, call.module_type)}
        if not found and not callable_predicate(leaf) and not _is_leaf_already(graph_module, leaf):
            raise UnknownLeafError(_unknown(leaf, calls))
        matching |= found
    return matching


def callable_predicate(leaf: Leaf) -> bool:
    """Whether a leaf is given as a predicate; one that matches nothing is no mistake."""
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


def _outermost(calls: tuple[ModuleCall, ...], matching: set[str]) -> list[ModuleCall]:
    covered: set[str] = set()
    chosen: list[ModuleCall] = []
    for call in calls:  # a parent's call begins before those inside it
        if call.parent in covered:
            covered.add(call.key)
        elif call.key in matching:
            covered.add(call.key)
            chosen.append(call)
    return chosen


class _Collapse:
    """One run over one graph module: the tables that each collapsed call needs."""

    def __init__(self, graph_module: fx.GraphModule, calls: tuple[ModuleCall, ...], root: nn.Module | None) -> None:
        self.graph_module = graph_module
        self.graph = graph_module.graph
        self.calls = calls
        record = capture_record(graph_module)
        self.root = root if record is None or root is not None else record.model
        self.regions = regions(self.graph)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.position = {node: index for index, node in enumerate(self.graph.nodes)}
        self.by_key = {call.key: call for call in calls}
        self.renamed: dict[str, NodeRef] = {}
        self.last_after: dict[str, fx.Node] = {}

    def run(self, chosen: list[ModuleCall]) -> None:
        for call in chosen:
            self._check(call)
        for call in chosen:
            self._collapse(call)
        self._update_record({call.key for call in chosen})

    def _check(self, call: ModuleCall) -> None:
        """Raises before anything is changed if `call` cannot become one node."""
        where = f"{call.module_type.__name__} at {call.path!r}"
        if self.root is None or not isinstance(attribute(self.root, call.path), nn.Module):
            raise CollapseError(
                f"{where} cannot become a leaf: the graph module does not hold the original module. "
                "Capture with fxpasses.capture_symbolic, or pass CollapseLeaves(leaves, root=model)."
            )
        for part in [*leaves(call.args), *leaves(call.kwargs), *leaves(call.output)]:
            if isinstance(part, Opaque):
                raise CollapseError(
                    f"{where} cannot become a leaf: one of its values is no value of a graph: {part.description}."
                )
        inside = set(self._made_by(call))
        returned = {part.name for part in leaves(call.output) if isinstance(part, NodeRef)}
        received = {part.name for part in leaves((call.args, call.kwargs)) if isinstance(part, NodeRef)}
        for node in inside:
            user = next((user for user in node.users if user not in inside), None)
            if user is not None and node.name not in returned | received:
                raise CollapseError(
                    f"{where} cannot become a leaf: its inner value {node.name!r} is used outside of it, by {user.name!r}. "
                    "Only what a module returns can be used when it is one node."
                )

    def _made_by(self, call: ModuleCall) -> list[fx.Node]:
        return [node for node in self.regions.get(call.key, []) if node.op != "get_attr"]

    def _collapse(self, call: ModuleCall) -> None:
        made = self._hoist_arguments(call, self._made_by(call))
        start = self._insertion_point(call, made)
        install(cast("nn.Module", self.root), self.graph_module, call.path)
        args, kwargs = self._with_current_nodes(call.args), self._with_current_nodes(call.kwargs)
        with self.graph.inserting_before(start):
            node = self.graph.call_module(call.path, cast("tuple[Any, ...]", args), cast("dict[str, Any]", kwargs))
        node.meta["nn_module_stack"] = self._stack(call)
        if call.name is not None:
            set_name(node, call.name, "exact")
        self.position[node] = self.position.get(start, len(self.position)) if start is not None else len(self.position)
        if call.after is not None and not made:
            self.last_after[call.after.name] = node
        self._redirect(call, node, set(made))
        self._erase(call, made)

    def _hoist_arguments(self, call: ModuleCall, made: list[fx.Node]) -> list[fx.Node]:
        """Moves values that the caller passed but that were only recorded inside (`block(x.shape)`) out of the region."""
        received = {part.name for part in leaves((call.args, call.kwargs)) if isinstance(part, NodeRef)}
        hoisted = [node for node in made if node.name in received]
        for node in hoisted:
            made[0].prepend(node)
            node.meta["nn_module_stack"] = dict(list(self._stack(call).items())[:-1])
        return [node for node in made if node.name not in received]

    def _insertion_point(self, call: ModuleCall, made: list[fx.Node]) -> fx.Node | None:
        region = made or self.regions.get(call.key, [])
        if region:
            return region[0]
        if call.after is None:
            return next(iter(self.graph.nodes))
        return self.last_after.get(call.after.name, self._current(call.after)).next

    def _current(self, reference: NodeRef) -> fx.Node:
        while reference.name in self.renamed:
            reference = self.renamed[reference.name]
        return self.nodes[reference.name]

    def _with_current_nodes(self, structure: object) -> object:
        return map_structure(structure, lambda part: self._current(part) if isinstance(part, NodeRef) else part)

    def _stack(self, call: ModuleCall) -> dict[str, tuple[str, type[nn.Module]]]:
        chain = [call]
        while chain[-1].parent in self.by_key:
            chain.append(self.by_key[chain[-1].parent])
        return {each.key: (each.path, each.module_type) for each in reversed(chain)}

    def _redirect(self, call: ModuleCall, node: fx.Node, made: set[fx.Node]) -> None:
        self.nodes[node.name] = node
        for route, part in _routes(call.output):
            if not isinstance(part, NodeRef):
                continue
            old = self._current(part)
            new = self._picked(node, route, old)
            if new is None:
                continue
            self.nodes[new.name] = new
            if old in made:
                old.replace_all_uses_with(new)
                self.renamed[old.name] = NodeRef(new.name)
            else:
                self._replace_later_uses(old, new)

    def _picked(self, node: fx.Node, route: tuple[Any, ...], old: fx.Node) -> fx.Node | None:
        picked = node
        for key in route:
            with self.graph.inserting_after(picked):
                picked = self.graph.call_function(operator.getitem, (picked, key))
            picked.meta.update(old.meta)
        return picked

    def _replace_later_uses(self, old: fx.Node, new: fx.Node) -> None:
        start = self.position[new] if new in self.position else 0
        later = [user for user in old.users if self.position.get(user, -1) >= start and user is not new]
        for user in later:
            user.replace_input_with(old, new)

    def _erase(self, call: ModuleCall, made: list[fx.Node]) -> None:
        for node in reversed(made):
            self.graph.erase_node(node)
        for node in self.regions.get(call.key, []):
            if node.op == "get_attr" and not node.users:
                self.graph.erase_node(node)
            elif node.op == "get_attr":
                self._move_to_first_use(node)

    def _move_to_first_use(self, parameter: fx.Node) -> None:
        """Puts a parameter that the region was the first to read where its first remaining reader is."""
        first = min(parameter.users, key=lambda user: self.position.get(user, len(self.position)))
        first.prepend(parameter)
        parameter.meta["nn_module_stack"] = dict(first.meta.get("nn_module_stack") or {})

    def _update_record(self, collapsed: set[str]) -> None:
        record = capture_record(self.graph_module)
        if record is None:
            return
        covered: set[str] = set()
        kept: list[ModuleCall] = []
        for call in record.calls:
            if call.key in collapsed or call.parent in covered:
                covered.add(call.key)
            else:
                kept.append(self._updated(call))
        set_capture_record(self.graph_module, replace(record, calls=tuple(kept)))

    def _updated(self, call: ModuleCall) -> ModuleCall:
        def renamed(part: object) -> object:
            return NodeRef(self._current(part).name) if isinstance(part, NodeRef) else part

        return replace(
            call,
            args=cast("tuple[object, ...]", map_structure(call.args, renamed)),
            kwargs=cast("Mapping[str, object]", map_structure(call.kwargs, renamed)),
            output=map_structure(call.output, renamed),
            after=None if call.after is None else cast("NodeRef", renamed(call.after)),
        )


def _routes(structure: object, route: tuple[Any, ...] = ()) -> Iterable[tuple[tuple[Any, ...], object]]:
    """Yields each leaf of a structure with the keys that lead to it."""
    if isinstance(structure, Mapping):
        items = list(cast("Mapping[Any, object]", structure).items())
    elif isinstance(structure, (tuple, list)):
        items = list(enumerate(cast("tuple[object, ...]", structure)))
    else:
        return [(route, structure)]
    return [found for key, value in items for found in _routes(value, (*route, key))]
