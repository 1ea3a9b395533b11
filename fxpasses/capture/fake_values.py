"""`FakeValues`: the value of each node as a tensor without data, computed when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

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


class _Failed:
    """Stands for the value of a node whose computation raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class FakeValues:
    """Computes the values of a graph's nodes on fake tensors: shapes, dtypes and devices, and no data.

    A value is computed at the first request, together with what it needs and nothing else; a graph of which
    nobody asks anything costs nothing. Weights become fake when they are first used: none is read or copied.
    Sizes that depend on data, as those of `nonzero`, are unknown numbers, and only a decision on one fails.

    Args:
        root: The module in which the targets of nodes are found.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4))
        >>> graph = fx.symbolic_trace(model).graph
        >>> x, linear, _ = graph.nodes
        >>> values = FakeValues(model)
        >>> for node in graph.nodes:
        ...     values.add(node)
        >>> values.give(x, torch.empty(5, 3, device="meta"))
        >>> tuple(values.of(linear).shape)
        (5, 4)
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True)
        self._order: dict[fx.Node, int] = {}
        self._known: dict[fx.Node, Any] = {}
        self._all_in_order = False
        self.evaluating = False
        self.constants: dict[str, torch.Tensor] = {}

    def add(self, node: fx.Node) -> None:
        """Takes note of a node; nodes are added in the order of execution."""
        self._order[node] = len(self._order)
        if node.op == "call_method" and (node.target in _CHANGES_A_SHAPE or node.target in _CHANGES_A_CONTAINER):
            self._all_in_order = True
        elif node.op == "call_function" and node.target is setattr:
            self._all_in_order = True

    def give(self, node: fx.Node, value: Any) -> None:
        """Sets the value of a placeholder; the tensors in it become fake."""
        with self._quietly():
            self._known[node] = self.fake(value)

    def fake(self, value: Any) -> Any:
        """Returns `value` with a fake tensor in place of each real one."""
        return pytree.tree_map_only(torch.Tensor, self._mode.from_tensor, value)

    def of(self, node: fx.Node) -> Any:
        """Returns the value of `node`.

        Raises:
            Exception: What computing it, or something that it needs, raised.
        """
        if node not in self._known:
            with self.active():
                for each in self._waiting_for(node):
                    self._known[each] = self._computed(each)
        value = self._known[node]
        if isinstance(value, _Failed):
            raise value.error
        return value

    @contextmanager
    def active(self) -> Iterator[None]:
        """Runs its block as a computation on fake tensors, not as traced code."""
        with self._quietly(), self._mode:
            yield

    def culprit(self, node: fx.Node) -> fx.Node:
        """Returns the first node whose computation raised what the value of `node` raises."""
        failed = self._known[node]
        if not isinstance(failed, _Failed):
            return node
        same = (each for each, value in self._known.items() if isinstance(value, _Failed) and value.error is failed.error)
        return min(same, key=self._order.__getitem__)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Marks the time in which modules are run for their shapes, not traced."""
        before, self.evaluating = self.evaluating, True
        try:
            yield
        finally:
            self.evaluating = before

    def _waiting_for(self, node: fx.Node) -> list[fx.Node]:
        """Returns the nodes to compute for `node`, in order of execution."""
        if self._all_in_order:
            return [each for each in self._order if each not in self._known]
        found = {node}
        waiting = [node]
        while waiting:
            for each in waiting.pop().all_input_nodes:
                if each not in self._known and each not in found:
                    found.add(each)
                    waiting.append(each)
        return sorted(found, key=self._order.__getitem__)

    def _computed(self, node: fx.Node) -> Any:
        try:
            return self._run(node)
        except Exception as error:  # whatever it is, the one who asks for the value gets it
            return _Failed(error)

    def _run(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return self.fake(self._attribute(str(node.target)))
        args = cast("tuple[Any, ...]", map_aggregate(node.args, self._argument))
        kwargs = cast("dict[str, Any]", map_aggregate(node.kwargs, self._argument))
        if node.op == "call_function":
            return cast("Any", node.target)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if node.op == "call_module":
            return self._attribute(str(node.target))(*args, **kwargs)
        raise ValueError(f"the {node.op} node {node.name!r} has no value")

    def _argument(self, argument: Any) -> Any:
        if not isinstance(argument, fx.Node):
            return argument
        value = self._known[argument]
        if isinstance(value, _Failed):
            raise value.error
        return value

    def _attribute(self, path: str) -> Any:
        if path in self.constants:
            return self.constants[path]
        value: Any = self._root
        for name in path.split("."):
            value = getattr(value, name)
        return value
