"""Laws about what a pass leaves alone: its input, the meta of nodes, the signature, the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import fx
from torch.utils import _pytree as pytree

from fxpasses.errors import LawViolation
from fxpasses.graph.bits import first_difference
from fxpasses.testing.laws.fingerprint import (
    attributes_of,
    first_line_that_differs,
    meta_of,
    modules_of,
    program_of,
)
from fxpasses.testing.laws.law import Law, Trial
from fxpasses.testing.laws.watched import PassRaisedError, owners_of


class PreservesInputViolation(LawViolation):
    """A pass that changed what it must leave alone."""


class PreservesMetaViolation(LawViolation):
    """A pass that dropped or falsified the meta of a node."""


class PreservesSignatureViolation(LawViolation):
    """A pass that changed how the graph is called or what form its result has."""


class PreservesStateViolation(LawViolation):
    """A pass that changed parameters or buffers."""


@dataclass(frozen=True)
class PreservesInput(Law):
    """The pass leaves alone what is not its to change, also when it raises.

    A pass that returns another graph module leaves the given one as it was: graph, meta, modules. One that changes
    the given one in place leaves the modules in it as they were: modes, hooks, tensors. One that raises leaves
    everything as it was.
    """

    violation: ClassVar = PreservesInputViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "given = copy.deepcopy(traced)\nbefore = describe(given)\ntry:\n    apply(given)\nfinally:\n    assert describe(given) == before, 'the input was changed'"

    def check(self, trial: Trial) -> None:
        """Raise `PreservesInputViolation` unless the law holds."""
        before, given = trial.watched, trial.watched.given
        raised = before.ending if isinstance(before.ending, PassRaisedError) else None
        in_place = raised is None and before.result.graph_module is given
        if not in_place:
            when = f"raised {type(raised.error).__name__}" if raised is not None else "returned another graph module"
            found = first_line_that_differs(program_of(given), before.program)
            found = found or first_line_that_differs(meta_of(given), before.meta)
            if found is not None:
                trial.fail(f"the pass {when}, and the given graph was changed: {found}")
            if attributes_of(given) != before.attributes:
                trial.fail(f"the pass {when}, and attributes of the given modules were added or removed")
        found = _modules_differ(given, before.modules, all_of_them=not in_place)
        if found is not None:
            trial.fail(f"modules of the given graph module were changed: {found}")
        trial.fired("raised" if raised is not None else "compared")
        if raised is not None:
            raise raised


def _modules_differ(given: fx.GraphModule, before: list[str], *, all_of_them: bool) -> str | None:
    after = modules_of(given)
    if all_of_them:
        return first_line_that_differs(after, before)
    # In place: modules may come and go, but those that stay are what they were.
    known = {line.partition(":")[0]: line for line in before}
    for line in after:
        path = line.partition(":")[0]
        if path in known and _options(known[path]) == _options(line) and known[path] != line:
            return f"{line!r} instead of {known[path]!r}"
    return None


def _options(line: str) -> str:
    return line.rpartition(" [")[0].rpartition(") ")[0]


@dataclass(frozen=True)
class PreservesMeta(Law):
    """Nodes that stay keep their meta.

    Attributes:
        keys: The keys that must stay as they are on nodes of the same name, operation and target.
        created: Whether new nodes must have the keys that all of their inputs have.
    """

    keys: tuple[str, ...] = ("nn_module_stack", "stack_trace", "custom")
    created: bool = False
    violation: ClassVar = PreservesMetaViolation
    aspects: ClassVar = ("kept nodes",)
    script: ClassVar = "for node in transformed.graph.nodes:\n    print(node.name, sorted(node.meta))"

    def check(self, trial: Trial) -> None:
        """Raise `PreservesMetaViolation` unless the law holds."""
        before = {node.name: node for node in trial.subject.before.graph.nodes}
        for node in trial.result.graph_module.graph.nodes:
            old = before.get(node.name)
            if old is not None and (old.op, str(old.target)) == (node.op, str(node.target)):
                self._check_kept(trial, node, old)
            elif self.created and node.op.startswith("call"):
                self._check_created(trial, node)

    def _check_kept(self, trial: Trial, node: fx.Node, old: fx.Node) -> None:
        for key in self.keys:
            if key not in old.meta:
                continue
            trial.fired("kept nodes")
            if key not in node.meta:
                trial.fail(f"the node {node.name!r} lost meta[{key!r}]")
            if _spell(node.meta[key]) != _spell(old.meta[key]):
                trial.fail(f"the node {node.name!r} has meta[{key!r}] = {node.meta[key]!r}, before {old.meta[key]!r}")

    def _check_created(self, trial: Trial, node: fx.Node) -> None:
        inputs = [each for each in node.all_input_nodes if each.op.startswith("call")]
        for key in self.keys:
            if inputs and all(key in each.meta for each in inputs) and key not in node.meta:
                trial.fail(f"the new node {node.name!r} has no meta[{key!r}], and all of its inputs have one")
        trial.fired("created nodes")


def _spell(value: Any) -> str:
    # Deep copies share no objects, and classes are spelled by their names.
    return repr(dict(value)) if isinstance(value, dict) else repr(value)


@dataclass(frozen=True)
class PreservesSignature(Law):
    """Inputs keep their order, names, defaults and types, and the result keeps its form."""

    violation: ClassVar = PreservesSignatureViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "print(inspect.signature(traced.forward), inspect.signature(transformed.forward))\nassert inspect.signature(traced.forward) == inspect.signature(transformed.forward)"

    def check(self, trial: Trial) -> None:
        """Raise `PreservesSignatureViolation` unless the law holds."""
        before, after = trial.subject.before.graph, trial.result.graph_module.graph
        found = first_line_that_differs(_inputs(after), _inputs(before))
        if found is not None:
            trial.fail(f"the inputs changed: {found}")
        old, new = _form(before), _form(after)
        if old != new:
            trial.fail(f"the result has another form: {new} instead of {old}")
        trial.fired("compared")


def _inputs(graph: fx.Graph) -> list[str]:
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    return [f"{node.target} = {node.args} : {node.type}" for node in placeholders]


def _form(graph: fx.Graph) -> str:
    returned = pytree.tree_map_only(fx.Node, lambda _node: 0, _plain(graph.output_node().args[0]))
    return str(pytree.tree_structure(returned))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value] if isinstance(value, list) else tuple(_plain(item) for item in value)
    return value


@dataclass(frozen=True)
class PreservesState(Law):
    """Parameters and buffers keep their values, and stay shared where they were.

    Attributes:
        complete: Whether none may be missing from the result; a pass that prunes drops some.
    """

    complete: bool = False
    violation: ClassVar = PreservesStateViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "check_same(dict(transformed.state_dict()), dict(traced.state_dict()))"

    def check(self, trial: Trial) -> None:
        """Raise `PreservesStateViolation` unless the law holds."""
        given, before = trial.watched.given, trial.watched.state
        result = trial.watched.result.graph_module
        after = result.state_dict()
        missing = sorted(before.keys() - after.keys())
        if self.complete and missing:
            trial.fail(f"the state lost {missing[0]!r}")
        for name in filter(after.__contains__, before):
            found = first_difference(after[name].detach(), before[name])
            if found is not None:
                trial.fail(f"{name!r} changed: {found}")
        shared = owners_of(result)
        for name, others in trial.watched.owners.items():
            if result is given and name in shared and not (others & shared.keys()) <= shared[name]:
                trial.fail(f"{name!r} is no longer one tensor with {sorted(others - shared[name])}")
        trial.fired("compared")
