"""`FakeValues`: the value of each node as a tensor without data, computed when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from fxpasses.capture.values.shape_rules import value_by_rule
from fxpasses.capture.values.weightless import NO_DEVICE, without_data, without_weights
from fxpasses.capture.values.whole_functions import stand_in, stand_in_of_module

_CHANGES_A_SHAPE = frozenset(
    {
        "as_strided_",
        "resize_",
        "resize_as_",
        "set_",
        "squeeze_",
        "swapaxes_",
        "swapdims_",
        "t_",
        "transpose_",
        "unsqueeze_",
    }
)
_CHANGES_A_CONTAINER = frozenset(
    {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}
)


def changes_a_shape(node: fx.Node) -> bool:
    """Whether `node` may change the shape or the content of a value that other nodes refer to."""
    if node.op == "call_method":
        return node.target in _CHANGES_A_SHAPE or node.target in _CHANGES_A_CONTAINER
    return node.op == "call_function" and node.target is setattr


class _Failed:
    """Stands for the value of a node whose computation raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class FakeValues:
    """Computes the values of a graph's nodes without data: shapes, dtypes and structure.

    A value is computed at the first request, together with what it needs and nothing else; a graph of which
    nobody asks anything costs nothing. No weight is read or copied.

    Values are first computed on the meta device, which is fast and does not know every operation; after the first
    one that it does not know, they are fake tensors, which are slow. With those, sizes that depend on data, as the
    size of `nonzero`, are unknown numbers, and only a decision on one fails.

    Args:
        root: The module in which the targets of nodes are found.
        weightless: Whether `root` holds no data, so that nothing has to be kept from touching it.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4))
        >>> graph = fx.symbolic_trace(model).graph
        >>> x, linear, _ = graph.nodes
        >>> values = FakeValues(model)
        >>> for node in graph.nodes:
        ...     values.add(node)
        >>> values.give(x, torch.empty(5, 3))
        >>> values.of(linear).shape
        torch.Size([5, 4])
    """

    def __init__(self, root: nn.Module, weightless: bool = False) -> None:
        self.constants: dict[str, torch.Tensor] = {}
        self.evaluating = False
        self._root = root
        self._weightless = weightless
        self._fake_mode: FakeTensorMode | None = None
        self._order: dict[fx.Node, int] = {}
        self._given: dict[fx.Node, Any] = {}
        self._known: dict[fx.Node, Any] = {}
        self._bare: dict[str, Any] = {}
        self._all_in_order = False

    def add(self, node: fx.Node) -> None:
        """Takes note of a node; nodes are added in the order of execution."""
        self._order[node] = len(self._order)
        self._all_in_order = self._all_in_order or changes_a_shape(node)

    def give(self, node: fx.Node, value: Any) -> None:
        """Sets the value of a placeholder; its tensors are looked at for their shape and type alone."""
        self._given[node] = value

    def of(self, node: fx.Node) -> Any:
        """Returns the value of `node`.

        Raises:
            Exception: What computing it, or something that it needs, raised.
        """
        value = self._computed(node)
        if isinstance(value, _Failed) and self._fake_mode is None:
            self._use_fake_tensors()
            value = self._computed(node)
        if isinstance(value, _Failed):
            raise value.error
        return value

    def answer(self, node: fx.Node, question: Callable[[Any], Any]) -> Any:
        """Answers a question about the value of `node`, such as `bool` or `len`.

        Raises:
            Exception: What the question raises; the value depends on data, or the question does not fit it.
        """
        value = self.of(node)
        with self.active():
            try:
                return question(value)
            except Exception:
                if self._fake_mode is not None or not isinstance(value, torch.Tensor):
                    raise
        self._use_fake_tensors()
        value = self.of(node)
        with self.active():
            return question(value)

    def _use_fake_tensors(self) -> None:
        self._fake_mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True)
        self._known.clear()

    @contextmanager
    def active(self) -> Generator[None]:
        """Runs its block as a computation on such values, not as traced code."""
        before, self.evaluating = self.evaluating, True
        try:
            with ExitStack() as stack:
                if self._fake_mode is not None:
                    stack.enter_context(self._fake_mode)
                if self._on_no_device():
                    stack.enter_context(NO_DEVICE)
                yield
        finally:
            self.evaluating = before

    def device_of(self, node: fx.Node) -> torch.device:
        """Returns the device on which the graph computes `node`."""
        if self._on_no_device():
            return self._traced_device(node)
        return cast("torch.device", self.of(node).device)

    def culprit(self, node: fx.Node) -> fx.Node:
        """Returns the first node whose computation raised what the value of `node` raises."""
        failed = self._known[node]
        if not isinstance(failed, _Failed):
            return node
        same = (
            each for each, value in self._known.items() if isinstance(value, _Failed) and value.error is failed.error
        )
        return min(same, key=self._order.__getitem__)

    def _on_no_device(self) -> bool:
        return self._fake_mode is None or self._weightless

    def _computed(self, node: fx.Node) -> Any:
        if node not in self._known:
            with self.active():
                for each in self._waiting_for(node):
                    self._known[each] = self._attempted(each)
        return self._known[node]

    def _waiting_for(self, node: fx.Node) -> list[fx.Node]:
        """Returns the nodes to compute for `node`, in order of execution."""
        if self._all_in_order:
            return [each for each in self._order if each not in self._known and each.op != "output"]
        found = {node}
        waiting = [node]
        while waiting:
            for each in waiting.pop().all_input_nodes:
                if each not in self._known and each not in found:
                    found.add(each)
                    waiting.append(each)
        return sorted(found, key=self._order.__getitem__)

    def _attempted(self, node: fx.Node) -> Any:
        try:
            return self._run(node)
        except Exception as error:  # whatever it is, the one who asks for the value gets it
            return _Failed(error)

    def _run(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._without_data(self._given[node])
        if node.op == "get_attr":
            return self._without_data(self._found(str(node.target)))
        args = cast("tuple[Any, ...]", map_aggregate(node.args, self._argument))
        kwargs = cast("dict[str, Any]", map_aggregate(node.kwargs, self._argument))
        if self._on_no_device() and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": NO_DEVICE}
        if node.op in ("call_function", "call_module") and self._fake_mode is None:
            module = self._found(str(node.target)) if node.op == "call_module" else None
            with torch._C.DisableTorchFunction():  # each look at a size would go through the modes that are on
                value = value_by_rule(node, module, args, kwargs)
            if value is not None:
                return value
        if node.op == "call_function":
            return stand_in(cast("Any", node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if node.op == "call_module":
            # Not the module itself: hooks are the user's, and wait for data.
            return stand_in_of_module(self._module(str(node.target)))(*args, **kwargs)
        raise ValueError(f"the {node.op} node {node.name!r} has no value")

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, torch.device) and self._on_no_device():
            return NO_DEVICE
        if not isinstance(argument, fx.Node):
            return argument
        value = self._known[argument]
        if isinstance(value, _Failed):
            raise value.error
        return value

    def _without_data(self, value: Any) -> Any:
        if self._on_no_device():
            value = without_data(value)
        if self._fake_mode is None:
            return value
        return pytree.tree_map_only(torch.Tensor, self._fake_mode.from_tensor, value)

    def _module(self, path: str) -> Any:
        if self._weightless or self._fake_mode is not None:
            return self._found(path)
        if path not in self._bare:
            self._bare[path] = without_weights(self._found(path))
        return self._bare[path]

    def _found(self, path: str) -> Any:
        if path in self.constants:
            return self.constants[path]
        value: Any = self._root
        for name in path.split("."):
            value = getattr(value, name)
        return value

    def _traced_device(self, node: fx.Node) -> torch.device:
        """Follows a value back to where its device comes from: an argument, a weight, or a device by name."""
        while True:
            named = _named_device(node)
            if named is not None:
                return named
            source = self._given.get(node) if node.op == "placeholder" else None
            if node.op == "get_attr":
                source = self._found(str(node.target))
            tensors = [leaf for leaf in pytree.tree_leaves(source) if isinstance(leaf, torch.Tensor)]
            if tensors or not node.all_input_nodes:
                return tensors[0].device if tensors else torch.get_default_device()
            node = node.all_input_nodes[0]


def _named_device(node: fx.Node) -> torch.device | None:
    if node.op == "call_method" and node.target in ("cpu", "cuda"):
        return torch.device(str(node.target))
    named = [
        argument for argument in (*node.args, node.kwargs.get("device")) if isinstance(argument, (torch.device, str))
    ]
    takes_device = "device" in node.kwargs or (node.op == "call_method" and node.target == "to")
    return torch.device(named[0]) if named and takes_device else None
