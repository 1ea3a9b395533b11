"""Runs a graph once on tensors without data, and reports which memory each node wrote."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fxpasses.graph.effects.behaviour import Kind
from fxpasses.graph.effects.schema import written_arguments
from fxpasses.graph.effects.storages import NOWHERE, Storages, StorageTable
from fxpasses.graph.interpreter import Interpreter
from fxpasses.graph.snapshot import ModuleSnapshot

_NUMBERS = (bool, int, float, complex, torch.SymInt, torch.SymFloat, torch.SymBool)
_TYPES = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_PLAIN = (*_NUMBERS, *_TYPES, str, bytes, type(None), slice, range, type(Ellipsis))

_Flat = tuple[list[Any], pytree.TreeSpec]


@dataclass
class Observed:
    """What happened in one run; the attributes are those of `Effects`."""

    storages: dict[fx.Node, Storages] = field(default_factory=dict[fx.Node, Storages])
    writes: dict[fx.Node, Storages] = field(default_factory=dict[fx.Node, Storages])
    state_reads: dict[fx.Node, Storages] = field(default_factory=dict[fx.Node, Storages])
    kinds: dict[fx.Node, Kind] = field(default_factory=dict[fx.Node, Kind])
    reshapes: frozenset[fx.Node] = frozenset()
    random: frozenset[fx.Node] = frozenset()
    state: Storages = NOWHERE
    inputs: Storages = NOWHERE


class _CannotObserve(Exception):  # noqa: N818 - never leaves this module
    """A graph that does not run on tensors without data, or whose run would not tell everything."""


def observe(graph_module: fx.GraphModule, example_inputs: Sequence[object]) -> Observed | None:
    """Runs `graph_module` once without data; None if that is not possible.

    Parameters and buffers are replaced by tensors without data for the time of the run, and Python attributes that
    the modules' code changes are put back. Modules with hooks are not run: a hook would see those tensors.
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in graph_module.modules()):
        return None
    for make_way in (_on_meta, _on_fake):
        snapshot = ModuleSnapshot.take(graph_module)
        try:
            return _observe(graph_module, example_inputs, make_way())
        except Exception:
            continue
        finally:
            snapshot.restore()
    return None


class _Way(NamedTuple):
    """One way to have tensors without data: what makes them, the context to use them in, what tells them from others."""

    convert: Callable[[torch.Tensor], torch.Tensor]
    context: AbstractContextManager[Any]
    is_without_data: Callable[[torch.Tensor], bool]


def _on_meta() -> _Way:
    bases: dict[object, torch.Tensor] = {}

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        # Tensors that share memory must still share it: each storage gets one stand-in, tensors are views of it.
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.dtype)
        if key not in bases:
            bases[key] = torch.empty(storage.nbytes() // tensor.element_size(), dtype=tensor.dtype, device="meta")
        return bases[key].as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    return _Way(convert, torch.device("meta"), lambda tensor: tensor.device.type == "meta")


def _on_fake() -> _Way:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return _Way(mode.from_tensor, mode, lambda tensor: isinstance(tensor, FakeTensor))


def _observe(graph_module: fx.GraphModule, example_inputs: Sequence[object], way: _Way) -> Observed:
    stand_ins: dict[int, torch.Tensor] = {}

    def convert(value: object) -> object:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in stand_ins:
            stand_ins[id(value)] = way.convert(value.detach())
        return stand_ins[id(value)]

    named = (
        *graph_module.named_parameters(remove_duplicate=False),
        *graph_module.named_buffers(remove_duplicate=False),
    )
    state = {name: cast("torch.Tensor", convert(tensor)) for name, tensor in named}
    inputs = [pytree.tree_map(convert, value) for value in example_inputs]
    recorder = _Recorder(way, state.values())
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_reparametrize_module(graph_module, state))
        stack.enter_context(way.context)
        stack.enter_context(recorder)
        _Run(graph_module, recorder, convert).run(*inputs)
    return recorder.result()


class _Run(Interpreter):
    """Runs the graph, and tells the recorder which node is running and what it returned."""

    def __init__(self, graph_module: fx.GraphModule, recorder: _Recorder, convert: Callable[[object], object]) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self._recorder = recorder
        self._convert = convert

    def run_node(self, n: fx.Node) -> Any:
        self._recorder.node = n
        operands = (self.env[each] for each in n.all_input_nodes)
        containers = [value for value in operands if not isinstance(value, torch.Tensor)]
        before = pytree.tree_flatten(containers)
        value = super().run_node(n)
        if not _are_same(before, pytree.tree_flatten(containers)):
            raise _CannotObserve(f"{n} changes which items a container has, and no operator tells of it")
        if n.target is operator.setitem and isinstance(n.args[0], fx.Node):
            # The code that torch generates gives the name of the node to the object that was written into.
            self._recorder.note_value(n, [self.env[n.args[0]], value])
        elif n.op != "output":
            self._recorder.note_value(n, value)
        return value

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        return value if self._recorder.knows(value) else self._convert(value)


class _Recorder(TorchDispatchMode):
    """Sees each operator that runs, below autograd and all composition, and notes what it writes."""

    def __init__(self, way: _Way, state: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.node: fx.Node | None = None
        self._way = way
        self._table = StorageTable()
        self._state = NOWHERE.union(*(self._table.of_tensor(tensor) for tensor in state))
        self._seen = set(self._state)
        self._inputs: Storages = NOWHERE
        self._storages: dict[fx.Node, Storages] = {}
        self._kinds: dict[fx.Node, Kind] = {}
        self._writes: dict[fx.Node, set[int]] = {}
        self._reads: dict[fx.Node, set[int]] = {}
        self._reshapes: set[fx.Node] = set()
        self._random: set[fx.Node] = set()

    def knows(self, value: object) -> bool:
        """Whether a value is a parameter's or buffer's stand-in, or no tensor at all."""
        return not isinstance(value, torch.Tensor) or self._table.of_tensor(value) <= self._state

    def note_value(self, node: fx.Node, value: object) -> None:
        """Notes where the value of a node lives."""
        parts = pytree.tree_leaves(value)
        strange = [part for part in parts if not isinstance(part, (torch.Tensor, *_PLAIN))]
        if strange:
            raise _CannotObserve(f"{node} returns a {type(strange[0]).__name__}, which may hold tensors out of sight")
        tensors = [part for part in parts if isinstance(part, torch.Tensor)]
        self._storages[node] = NOWHERE.union(*(self._table.of_tensor(tensor) for tensor in tensors))
        self._kinds[node] = _kind_of(value, bool(tensors))
        self._seen |= self._storages[node]
        if node.op == "placeholder":
            self._inputs |= self._storages[node]
        if node.op == "get_attr":
            self._state |= self._storages[node]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator, and notes what it does."""
        kwargs = kwargs or {}
        written = list(_tensors_in([*written_arguments(func, args, kwargs)]))
        if not all(self._way.is_without_data(tensor) for tensor in written):
            raise _CannotObserve(f"{func} would write into a tensor that has data")
        result = func(*args, **kwargs)
        if self.node is not None:
            self._note(self.node, func, written, _tensors_in((args, kwargs)))
        return result

    def _note(self, node: fx.Node, func: Any, written: list[torch.Tensor], read: Iterable[torch.Tensor]) -> None:
        # What an operation makes inside of itself, and writes, is nobody else's.
        old = {storage for tensor in written for storage in self._table.of_tensor(tensor)} & self._seen
        if old:
            self._writes.setdefault(node, set()).update(old)
        for tensor in read if self._state else ():
            self._reads.setdefault(node, set()).update(self._table.of_tensor(tensor) & self._state)
        if torch.Tag.nondeterministic_seeded in func.tags:
            self._random.add(node)
        if old and torch.Tag.inplace_view in func.tags:
            self._reshapes.add(node)

    def result(self) -> Observed:
        """Returns all that was noted."""
        writes = {node: frozenset(storages) for node, storages in self._writes.items()}
        written = NOWHERE.union(*writes.values())
        reads = {node: frozenset(storages) & written for node, storages in self._reads.items()}
        return Observed(
            storages=self._storages,
            writes=writes,
            state_reads={node: storages for node, storages in reads.items() if storages},
            kinds=self._kinds,
            reshapes=frozenset(self._reshapes),
            random=frozenset(self._random),
            state=self._state,
            inputs=self._inputs,
        )


def _tensors_in(value: object) -> Iterable[torch.Tensor]:
    for part in pytree.tree_iter(value):
        if isinstance(part, torch.Tensor):
            yield part


def _are_same(before: _Flat, after: _Flat) -> bool:
    return before[1] == after[1] and all(map(operator.is_, before[0], after[0]))


def _kind_of(value: object, has_tensors: bool) -> Kind:
    if isinstance(value, torch.Tensor):
        return "tensor"
    if not has_tensors:
        return "none"
    if not isinstance(value, tuple | list):
        return "any"
    return "tensors" if all(isinstance(each, torch.Tensor) for each in cast("Sequence[object]", value)) else "any"
