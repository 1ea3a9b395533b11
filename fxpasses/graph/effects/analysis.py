"""Which nodes of a graph write, and what may share memory with what.

Two ways lead to an `Effects`. The static one (`analyze_effects(graph_module)`) needs no inputs: it goes once through
the graph and asks, for each node, a rule for its target, or, for a target that no rule knows, its source. Whatever
may happen, for any input, is in the answer. The exact one (`example_inputs=`) runs the graph once on tensors
without data, and reports what happened: for inputs that take the same way through the code, it is all that happens.

What both take for granted: the arguments of a call do not share memory with each other, with parameters or with
buffers; and what runs outside of the graph, a hook of a parent or another thread, writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import fx, nn

from fxpasses.graph.effects.behaviour import NO_CONTAINER, STATE, Behaviour, Key, Kind, opaque
from fxpasses.graph.effects.exact import Observed, observe
from fxpasses.graph.effects.functions import behaviour_of_function
from fxpasses.graph.effects.kinds import kind_by_use, kind_of_result, may_concatenate
from fxpasses.graph.effects.methods import behaviour_of_method
from fxpasses.graph.effects.modules import behaviour_of_module
from fxpasses.graph.effects.source.summaries import Summaries
from fxpasses.graph.effects.storages import NOWHERE, Storages, StorageTable, storage_key
from fxpasses.graph.modules import submodule

_NODES = frozenset[fx.Node]()


@dataclass(frozen=True, eq=False)
class Effects:
    """What the nodes of a graph do to memory. A node that is missing in a mapping does nothing of the kind.

    Attributes:
        storages: The storages in which a node's value may live; two values may share memory if they have one in common.
        writes: The storages into which a node may write.
        state_reads: The storages that a node reads beside its operands': those of its module's parameters and buffers,
            as far as some node writes them.
        state: The storages that outlive a call: parameters, buffers, constants, and what else modules keep.
        inputs: The storages of the arguments that the graph is called with.
        kinds: What each node's value is: a tensor, a sequence of tensors, no tensor, or any of these.
        shape_readers: Nodes that look at shapes, types and devices, never at elements.
        reshapes: Nodes that change shape or strides of an operand in place, or which items it holds.
        random: Nodes that draw random numbers.
        checks: Assertions.
        ambient: Nodes that change how later ones run, such as switching autograd off, or whose target was declared
            to have a side effect.
        exact: Whether this was observed in a run, not concluded.
        joined: Whether values were taken to share memory because some node may put one into another, or because one may
            live in very many places. The order of nodes does not count there: once some are removed, others may turn
            out to write less than this says.

    Example:
        >>> def model(x):
        ...     y = x + 1
        ...     z = y.view(-1)
        ...     z.mul_(2)
        ...     return y
        >>> graph_module = fx.symbolic_trace(model)
        >>> effects = analyze_effects(graph_module)
        >>> x, y, z, mul_, _ = graph_module.graph.nodes
        >>> effects.may_write(mul_, y), effects.may_write(mul_, x), effects.may_share_memory(y, z)
        (True, False, True)
    """

    storages: Mapping[fx.Node, Storages]
    writes: Mapping[fx.Node, Storages]
    state_reads: Mapping[fx.Node, Storages] = field(default_factory=dict[fx.Node, Storages])
    state: Storages = NOWHERE
    inputs: Storages = NOWHERE
    kinds: Mapping[fx.Node, Kind] = field(default_factory=dict[fx.Node, Kind])
    shape_readers: frozenset[fx.Node] = _NODES
    reshapes: frozenset[fx.Node] = _NODES
    random: frozenset[fx.Node] = _NODES
    checks: frozenset[fx.Node] = _NODES
    ambient: frozenset[fx.Node] = _NODES
    exact: bool = False
    joined: bool = False

    def may_share_memory(self, node: fx.Node, other: fx.Node) -> bool:
        """Whether the values of two nodes may have memory in common."""
        return not self.storages.get(node, NOWHERE).isdisjoint(self.storages.get(other, NOWHERE))

    def may_write(self, writer: fx.Node, node: fx.Node) -> bool:
        """Whether `writer` may write into the memory of `node`'s value; that it runs later is for the caller to know."""
        return not self.writes.get(writer, NOWHERE).isdisjoint(self.storages.get(node, NOWHERE))

    def written_operands(self, writer: fx.Node) -> tuple[fx.Node, ...]:
        """Returns the operands of `writer` into whose memory it may write."""
        return tuple(node for node in writer.all_input_nodes if self.may_write(writer, node))


def analyze_effects(
    graph_module: fx.GraphModule,
    *,
    example_inputs: Sequence[object] | None = None,
    training: bool | None = None,
    summaries: Summaries | None = None,
) -> Effects:
    """Finds out which nodes of a graph write, and what may share memory with what.

    The graph module is left as it is. No operation computes anything: an exact run has tensors without data.

    Args:
        graph_module: The graph, and the modules that it calls.
        example_inputs: Arguments for the graph's placeholders, in order. With them the answer is exact, for inputs that
            take the same way; without, or where the graph does not run on tensors without data, it is static.
        training: The `training` flag to assume for every module that is called; None for either one, which stays right
            when a module is switched later. An exact run takes the modules as they are.
        summaries: What was read of callees before; what is read now is added.

    Returns:
        The effects; `exact` says which way they were found.
    """
    static = _Analysis(graph_module, training, summaries or Summaries()).run()
    if example_inputs is None:
        return static
    observed = observe(graph_module, example_inputs)
    return static if observed is None else _exact(static, observed)


def _exact(static: Effects, observed: Observed) -> Effects:
    """Replaces what was concluded by what was observed; the roles of nodes are the same either way."""
    return Effects(
        storages=observed.storages,
        writes=observed.writes,
        state_reads=observed.state_reads,
        state=observed.state,
        inputs=observed.inputs,
        kinds=observed.kinds,
        shape_readers=static.shape_readers,
        reshapes=observed.reshapes,
        random=observed.random,
        checks=static.checks,
        ambient=static.ambient,
        exact=True,
    )


class _Analysis:
    """One walk through a graph, in order of execution."""

    def __init__(self, graph_module: fx.GraphModule, training: bool | None, summaries: Summaries) -> None:
        self._root = graph_module
        self._training = training
        self._table = StorageTable()
        self._storages: dict[fx.Node, Storages] = {}
        self._writes: dict[fx.Node, Storages] = {}
        self._kinds: dict[fx.Node, Kind] = {}
        self._roles: dict[str, set[fx.Node]] = {}
        self._state: dict[object, Storages] = {}
        self._inputs: list[Storages] = []
        self._summaries = summaries
        self._modules: dict[str, nn.Module] = {}

    def run(self) -> Effects:
        """Goes through all nodes."""
        for node in self._root.graph.nodes:
            self._visit(node)
        resolve = self._table.resolve
        writes = {node: resolve(storages) for node, storages in self._writes.items()}
        state_reads = self._state_reads(NOWHERE.union(*writes.values()))
        return Effects(
            storages={node: resolve(storages) for node, storages in self._storages.items()},
            writes=writes,
            state_reads=state_reads,
            state=resolve(NOWHERE.union(*self._state.values())),
            inputs=resolve(NOWHERE.union(*self._inputs)),
            kinds=self._kinds,
            shape_readers=self._of_role("shape_readers"),
            reshapes=self._of_role("reshapes"),
            random=self._of_role("random"),
            checks=self._of_role("checks"),
            ambient=self._of_role("ambient"),
            joined=self._table.unified,
        )

    def _visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._inputs.append(self._table.new())
            self._set(node, self._inputs[-1], "any")
        elif node.op == "get_attr":
            self._visit_attribute(node)
        elif node.op != "output":
            self._visit_call(node)

    def _set(self, node: fx.Node, storages: Storages, kind: Kind) -> None:
        self._kinds[node] = kind_by_use(node, self._root, kind) if kind in ("any", "numeric") else kind
        self._storages[node] = NOWHERE if self._kinds[node] == "none" else storages

    def _visit_attribute(self, node: fx.Node) -> None:
        value = _attribute(self._root, str(node.target))
        if isinstance(value, nn.Module):
            self._set(node, self._state_of(value), "any")
            return
        is_tensor = isinstance(value, torch.Tensor)
        key = storage_key(value) if is_tensor else id(value)
        self._state[key] = self._table.of_object(value, key)
        self._set(node, self._state[key], "tensor" if is_tensor else "any")

    def _visit_call(self, node: fx.Node) -> None:
        behaviour = self._behaviour(node)
        writes = self._table.union(self._of_key(node, key) for key in behaviour.writes)
        if writes:
            self._writes[node] = writes
        if behaviour.links:
            self._link(node, behaviour)
        self._note_roles(node, behaviour)
        self._set(node, self._result(node, behaviour), kind_of_result(node, behaviour, self._kinds))

    def _note_roles(self, node: fx.Node, behaviour: Behaviour) -> None:
        for role, holds in (
            ("shape_readers", not behaviour.reads),
            ("reshapes", behaviour.reshapes or behaviour.rebuilds),
            ("random", behaviour.random),
            ("checks", behaviour.checks),
            ("ambient", behaviour.ambient),
        ):
            if holds:
                self._roles.setdefault(role, set()).add(node)

    def _of_role(self, role: str) -> frozenset[fx.Node]:
        return frozenset(self._roles.get(role, ()))

    def _result(self, node: fx.Node, behaviour: Behaviour) -> Storages:
        # Adding tensors makes a tensor; adding what may be lists makes a list that holds the same items.
        is_arithmetic = behaviour.concatenates and not may_concatenate(node, self._kinds)
        returned = () if is_arithmetic else behaviour.returns
        return self._table.union(self._of_key(node, key) for key in returned) or self._table.new()

    def _behaviour(self, node: fx.Node) -> Behaviour:
        target: Any = node.target
        if node.op == "call_method":
            return behaviour_of_method(target, node.args, node.kwargs) or opaque(node.args, node.kwargs)
        if node.op == "call_function":
            return behaviour_of_function(target, node.args, node.kwargs) or self._from_source(target, node)
        module = self._module(target)
        if module._forward_hooks or module._forward_pre_hooks:
            return self._from_source(module, node)
        known = behaviour_of_module(module, self._training, node.args, node.kwargs)
        return known or self._from_source(module, node)

    def _from_source(self, callee: Any, node: fx.Node) -> Behaviour:
        return self._summaries.behaviour(callee, self._training, node, self._kinds)

    def _of_key(self, node: fx.Node, key: Key) -> Storages:
        """Returns the storages of one argument of a call, or of what the callee owns."""
        if key == STATE:
            return self._state_of(self._callee(node))
        argument = node.args[key] if isinstance(key, int) else node.kwargs[key]
        if isinstance(argument, fx.Node):
            return self._storages[argument]
        return self._table.union(self._storages[each] for each in _nodes_in(argument))

    def _callee(self, node: fx.Node) -> object:
        return self._module(str(node.target)) if node.op == "call_module" else node.target

    def _module(self, path: str) -> nn.Module:
        if path not in self._modules:
            self._modules[path] = submodule(self._root, path)
        return self._modules[path]

    def _link(self, node: fx.Node, behaviour: Behaviour) -> None:
        """Lets everything that was passed share memory, if any of it may hold the rest."""
        holders = [key for key in behaviour.writes if key == STATE or self._may_hold(node, key)]
        if holders:
            passed = [self._storages[each] for each in node.all_input_nodes]
            self._table.unify(NOWHERE.union(*passed, *(self._of_key(node, key) for key in holders)))

    def _may_hold(self, node: fx.Node, key: Key) -> bool:
        argument = node.args[key] if isinstance(key, int) else node.kwargs[key]
        return not isinstance(argument, fx.Node) or self._kinds[argument] not in NO_CONTAINER

    def _state_of(self, callee: object) -> Storages:
        """Returns the storages of what a module or function owns, one for its other attributes among them."""
        if callee not in self._state:
            tensors = _tensors(callee) if isinstance(callee, nn.Module) else ()
            own = [self._table.of_tensor(tensor) for tensor in tensors]
            self._state[callee] = NOWHERE.union(*own, self._table.of_object(callee, ("owner", id(callee))))
        return self._state[callee]

    def _state_reads(self, written: Storages) -> dict[fx.Node, Storages]:
        """Returns which written storages each module call reads because its module owns them."""
        found: dict[fx.Node, Storages] = {}
        for node in self._root.graph.nodes if written else ():
            if node.op == "call_module" and self._knows_of(self._module(str(node.target))):
                own = self._table.resolve(self._state_of(self._callee(node))) & written
                found.update({node: own} if own else {})
        return found

    def _knows_of(self, module: nn.Module) -> bool:
        """Whether anything that a module owns has a storage already; nothing else can have been written."""
        return module in self._state or any(self._table.has(storage_key(tensor)) for tensor in _tensors(module))


def _tensors(module: nn.Module) -> Iterable[torch.Tensor]:
    if not module._modules:  # as most modules that a graph calls; the general way takes ten times as long
        return (each for owned in (module._parameters, module._buffers) for each in owned.values() if each is not None)
    return (*module.parameters(), *module.buffers())


def _attribute(root: nn.Module, path: str) -> object:
    owner, _, name = path.rpartition(".")
    return getattr(submodule(root, owner) if owner else root, name, None)


def _nodes_in(argument: object) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg(cast("Any", argument), found.append)
    return found
