"""Value capture: symbolic tracing in which each proxy knows the shape, dtype and device of what it stands for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import ModuleType
from typing import Any, cast

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxpasses.capture.leaves import tracer_options as completed
from fxpasses.capture.modes import left_as_it_was
from fxpasses.capture.patching import one_capture_at_a_time, replaced
from fxpasses.capture.rebuilt import take_apart
from fxpasses.capture.signature import Argument, bound_arguments, called, is_constant, placeholder_default, with_proxies
from fxpasses.capture.symbolic import graph_module_of, require_module
from fxpasses.capture.tracing.losses import warn_of_losses
from fxpasses.capture.tracing.proxies import PLAIN_OPERATOR
from fxpasses.capture.tracing.tracer import CaptureTracer
from fxpasses.capture.values.decisions import Decision, Place, current_place, deciding
from fxpasses.capture.values.failure import data_decision, example_failure, value_failure
from fxpasses.capture.values.fake_values import FakeValues
from fxpasses.capture.values.guards import guard_set, set_guards
from fxpasses.capture.values.kinds import surely_tensor
from fxpasses.capture.values.misfits import UNKNOWN_DATA
from fxpasses.capture.values.proxies import ValueBufferProxy, ValueProxy
from fxpasses.capture.values.reads import AttributeReads
from fxpasses.capture.values.shims import (
    RecordsRealReceivers,
    isinstance_of_value,
    let_torch_look_up_its_functions,
    methods_that_take_sizes,
    shims,
    traced_namespaces,
)
from fxpasses.capture.values.whole_functions import recorded_whole
from fxpasses.errors import ArgumentTypeError, CaptureError
from fxpasses.graph.numbers import makes_number

_QUESTIONS: dict[Callable[..., Any], str] = {
    bool: "bool",
    complex: "complex",
    float: "float",
    int: "int",
    len: "len",
    operator.index: "int",
}
_PLAIN_TYPES = frozenset({int, str, type(None), bool, float, type(...)})
_SOME_TENSOR = torch.empty(0, device="meta")


class ValueTracer(CaptureTracer):
    """A `CaptureTracer` that answers questions about shapes, types and devices from fake values.

    Nodes are recorded as without values; what is asked of a value becomes a `Decision`.

    Args:
        leaf_modules: As for `CaptureTracer`.
        autowrap_modules: As for `CaptureTracer`.
        autowrap_functions: As for `CaptureTracer`.
        param_shapes_constant: As for `CaptureTracer`.
    """

    values: FakeValues

    def __init__(
        self,
        leaf_modules: Iterable[type[nn.Module]] = (),
        autowrap_modules: tuple[ModuleType, ...] = (),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        super().__init__(leaf_modules, autowrap_modules, autowrap_functions, param_shapes_constant)
        self.asserted = False
        self.reads = AttributeReads(self)
        self.decisions: list[Decision] = []
        self.arguments: list[Argument] = []
        self._places: dict[fx.Node, Place] = {}
        self._written: dict[int, tuple[torch.Tensor, fx.Proxy]] = {}

    def trace_with(self, model: nn.Module, arguments: list[Argument]) -> fx.Graph:
        """Traces `model` with the given examples for its arguments."""
        self.arguments = arguments
        self.values = FakeValues(model)
        self.values.constants = self.constants
        with ExitStack() as stack:
            stack.enter_context(one_capture_at_a_time())
            let_torch_look_up_its_functions()
            for namespace, entries in shims(self):
                stack.enter_context(replaced({0: namespace}, entries))
            namespaces = traced_namespaces(model)
            for namespace, entries in recorded_whole(self, namespaces):
                stack.enter_context(replaced({0: namespace}, entries))
            stack.enter_context(replaced(namespaces, {"isinstance": isinstance_of_value}))
            stack.enter_context(methods_that_take_sizes(self))
            stack.enter_context(RecordsRealReceivers(self))
            graph = self.trace(model)
        self.reads.name_unused_devices(graph)
        return graph

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Makes a placeholder for each example; other arguments keep their defaults."""
        del root_fn, is_module, concrete_args
        model = self.root
        placeholders = [self._placeholder(argument) for argument in self.arguments]
        inputs = [self._input(*each) for each in zip(self.arguments, placeholders, strict=True)]

        def forward() -> Any:
            return called(model.forward, self.arguments, inputs)

        return forward, []

    def _placeholder(self, argument: Argument) -> fx.Node:
        node = self.create_node("placeholder", argument.name, placeholder_default(argument), {})
        self.values.give(node, argument.value)
        return node

    def _input(self, argument: Argument, node: fx.Node) -> Any:
        if is_constant(argument.value):
            return argument.value
        return with_proxies(argument.value, self.proxy(node), argument.name)

    # What the trace records

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> fx.Node:
        """Records a node, and the line that made it."""
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        self.values.add(node)
        self._places[node] = current_place()
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Wraps `node` in a proxy that knows its value."""
        return ValueProxy(node, self)

    def tensor_proxy(self, node: fx.Node, tensor: torch.Tensor) -> fx.Proxy:
        """Wraps the `get_attr` node of a tensor whose shape is a constant."""
        return ValueBufferProxy(node, self, tensor)

    def create_arg(self, a: Any) -> Any:
        """Turns a Python value into an argument of a node; the usual kinds first."""
        kind = type(a)
        if kind in _PLAIN_TYPES:
            return a
        if kind is ValueProxy:
            return a.node
        if kind is torch.dtype:
            self.reads.uses_dtype(a)
            return a
        read_device = self.reads.node_of_device(a)
        if read_device is not None:
            return read_device
        if type(a).__module__ == "numpy" and hasattr(a, "item") and getattr(a, "ndim", 1) == 0:
            return a.item()  # a number of numpy's: its text form is no code that a graph could run
        if isinstance(a, torch.Tensor) and id(a) in self._written:
            return self._written[id(a)][1].node
        if isinstance(a, dict) and hasattr(a, "__dataclass_fields__"):
            fields = {key: self.create_arg(value) for key, value in cast("dict[str, Any]", a).items()}
            return self.create_node("call_function", type(a), (), fields)
        try:
            return super().create_arg(a)
        except NotImplementedError:
            return self._object_node(a)

    def _object_node(self, a: Any) -> fx.Node:
        parts = take_apart(a, lambda leaf: isinstance(leaf, fx.Proxy))
        if parts is None:
            raise NotImplementedError(f"an object of type {type(a).__name__} that holds no value of the graph")
        make, proxies = parts
        return self.create_node("call_function", make, tuple(self.create_arg(proxy) for proxy in proxies), {})

    def augmented(self, target: Callable[..., Any], proxy: fx.Proxy, other: Any) -> fx.Proxy:
        """Records `proxy <op>= other`, in place on tensors and lists alone."""
        if not surely_tensor(proxy.node, self.root) and not isinstance(self.value_of(proxy), (torch.Tensor, list)):
            return self.create_proxy("call_function", PLAIN_OPERATOR[target], (proxy, other), {})
        return super().augmented(target, proxy, other)

    def record_torch_function(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records a torch function that torch itself would have run at once."""
        name = getattr(func, "__name__", "")
        if not torch.overrides.is_tensor_method_or_property(func):
            return self.create_proxy("call_function", func, args, kwargs)
        if name == "__get__":
            return getattr(args[0], cast("Any", func).__self__.__name__)  # an attribute of a tensor that was written
        if name == "__setitem__":
            return self.create_proxy("call_function", operator.setitem, self._own_copy(args), {})
        if name.endswith("_") and not name.endswith("__"):
            args = self._own_copy(args)
        if name == "__getitem__":
            return self.create_proxy("call_function", operator.getitem, args, kwargs)
        return self.create_proxy("call_method", name, args, kwargs)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any) -> fx.Proxy:
        """Records an operation; a write into a tensor that the forward made itself goes into a fresh copy of it."""
        in_place = kind == "call_method" and str(target).endswith("_") and not str(target).endswith("__")
        if args and isinstance(args[0], torch.Tensor) and (in_place or target is operator.setitem):
            args = self._own_copy(args)
        if target is torch._assert and isinstance(args[0], fx.Proxy) and makes_number(args[0].node):
            self.asserted = True
            self._decided(args[0].node, "bool", True)  # else the model raises; nothing has to be computed for that
        return super().create_proxy(kind, target, args, kwargs, *more, **named)

    def _own_copy(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Replaces a constant that is written into: each run of the graph needs a fresh one."""
        written = args[0]
        if not isinstance(written, torch.Tensor) or self._is_of_model(written):
            return args
        if written._is_view():
            raise CaptureError(
                f"{current_place()}: the forward writes a computed value into a view of a tensor that it made itself, "
                f"which a graph cannot repeat: {current_place().source}. Write into the whole tensor, or use torch.where."
            )
        if id(written) not in self._written:
            copy = super().create_proxy("call_method", "clone", (written,), {})
            self._written[id(written)] = (written, copy)
        return (self._written[id(written)][1], *args[1:])

    def _is_of_model(self, tensor: torch.Tensor) -> bool:
        made_here = any(tensor is constant for constant in self.constants.values())
        return id(tensor) in self._tensor_paths and not made_here

    def was_written(self, args: Any, kwargs: Any) -> bool:
        """Whether a tensor among the arguments has been replaced by a copy in the graph."""
        if not self._written:
            return False
        leaves = pytree.tree_leaves((args, kwargs))
        return any(isinstance(leaf, torch.Tensor) and id(leaf) in self._written for leaf in leaves)

    # What the code asks

    def stands_aside(self) -> bool:
        """Whether what runs now is not the traced code: another thread, or the computation of a value."""
        return self.values.evaluating or super().stands_aside()

    def value_of(self, proxy: fx.Proxy) -> Any:
        """Returns the fake value of a proxy.

        Raises:
            CaptureError: It cannot be computed: the examples do not fit, or it depends on data.
        """
        try:
            return self.values.of(proxy.node)
        except Exception as error:
            raise self._no_value(proxy.node, error) from error

    def decide(self, proxy: ValueProxy, question: Callable[[Any], Any]) -> Any:
        """Answers `question` about the value of `proxy`, and notes the decision down."""
        value = self.value_of(proxy)
        try:
            answer = self.values.answer(proxy.node, question)
        except Exception as error:
            if type(error).__name__ in UNKNOWN_DATA:
                raise data_decision(
                    current_place(), self._module_path(), _QUESTIONS[question], proxy.node, value
                ) from error
            raise
        self._decided(proxy.node, _QUESTIONS[question], answer)
        return answer

    def keys_of(self, proxy: ValueProxy) -> list[Any]:
        """Returns the keys of a dict as constants."""
        keys = list(self.value_of(proxy).keys())
        self._decided(proxy.node, "keys", keys)
        return keys

    def range_of(self, proxy: ValueProxy) -> range:
        """Returns a range of Python numbers as it is."""
        numbers = self.value_of(proxy)
        self._decided(proxy.node, "range", numbers)
        return numbers

    def is_instance(self, proxy: ValueProxy, classes: Any) -> bool:
        """Answers `isinstance`; no decision, since the class of a value does not depend on its size."""
        value: Any = _SOME_TENSOR if surely_tensor(proxy.node, self.root) else self.value_of(proxy)
        stands_for: dict[Any, Any] = {torch.SymInt: 0, torch.SymFloat: 0.0, torch.SymBool: True}
        return isinstance(stands_for.get(type(value), value), classes)

    def dtype_of(self, proxy: ValueProxy) -> torch.dtype:
        """Returns the dtype of a tensor, as a constant."""
        dtype = self.value_of(proxy).dtype
        self._decided(proxy.node, "dtype", dtype)
        return self.reads.dtype(proxy, dtype)

    def device_of(self, proxy: ValueProxy) -> torch.device:
        """Returns the device of a tensor; where it is used as an argument, the graph reads it anew."""
        return self.reads.device(proxy, self.values.device_of(proxy.node))

    def _decided(self, node: fx.Node, kind: str, answer: Any) -> None:
        self.decisions.append(Decision(node, kind, answer, current_place(), self._module_path(), len(self.graph.nodes)))

    def _module_path(self) -> str:
        return next(reversed(self.module_stack.values()), ("", None))[0]

    def _no_value(self, node: fx.Node, error: Exception) -> CaptureError:
        if isinstance(error, CaptureError):
            return error
        if type(error).__name__ in UNKNOWN_DATA:
            return data_decision(current_place(), self._module_path(), "value", node, None)
        return example_failure(self.values.culprit(node), self._places, error)


def _traced(tracer: ValueTracer, model: nn.Module, arguments: list[Argument]) -> fx.Graph:
    try:
        return tracer.trace_with(model, arguments)
    except (CaptureError, ArgumentTypeError):
        raise
    except Exception as error:
        raise value_failure(model, error, list(tracer.module_stack.values())) from error


def capture_with_values(
    model: nn.Module,
    example_inputs: Any = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    training: bool | None = None,
    tracer_options: Mapping[str, Any] | None = None,
    warn: bool = True,
) -> fx.GraphModule:
    """Traces `model` once on the shapes, types and devices of example inputs, and leaves it exactly as it was.

    Nothing is computed, no weight is read. The graph has the arguments that the examples pass; the others keep
    their defaults. It is specialised on nothing but the decisions that the model's code took, which `guards_of`
    returns.

    Args:
        model: The model.
        example_inputs: Positional arguments of the model's forward; a single tensor stands for itself. What is in the
            tensors does not matter, and tensors on the meta device do as well.
        example_kwargs: Arguments by keyword.
        training: The mode to trace: True, False, or None for each submodule's mode as it is.
        tracer_options: Leaves and functions to record whole; see `fxpasses.capture.leaves.tracer_options`.
        warn: Whether to warn of what the graph does not carry over; the record holds it in any case.

    Returns:
        A graph module that computes what the model computes in that mode.

    Raises:
        ArgumentTypeError: `model` is not an `nn.Module`, or the examples do not fit its forward.
        CaptureError: The model cannot be traced; the message names module, file and line.

    Warns:
        FidelityWarning: The graph does not carry over something of the model, such as a `no_grad` block or hooks.

    Example:
        >>> class Halved(nn.Module):
        ...     def forward(self, x, scale=None):
        ...         half = x[:, : x.shape[1] // 2] if x.shape[1] > 4 else x
        ...         return half if scale is None else half * scale
        >>> graph_module = capture_with_values(Halved(), torch.ones(2, 6))
        >>> graph_module(torch.ones(5, 8)).shape
        torch.Size([5, 4])
        >>> from fxpasses.capture.values.guards import guards_of
        >>> [guard.text for guard in guards_of(graph_module).guards]
        ['x.shape[1] > 4']
    """
    require_module(model)
    arguments = bound_arguments(model, example_inputs, example_kwargs)
    tracer = ValueTracer(**completed(tracer_options))
    with left_as_it_was(model, training):
        mode = model.training
        try:
            graph = _traced(tracer, model, arguments)
        except CaptureError:
            if not tracer.reads.made_tables:
                raise
            tracer = ValueTracer(**completed(tracer_options))
            tracer.reads.keeps_tables = True  # the forward may decide on one, which only a constant can answer
            graph = _traced(tracer, model, arguments)
    if warn:
        warn_of_losses(tracer.losses.losses())
    graph_module = graph_module_of(model, mode, tracer, graph)
    guards = guard_set(
        graph_module, deciding(tracer.decisions), [each.value for each in arguments], surely_fit=not tracer.asserted
    )
    set_guards(graph_module, guards)
    return graph_module
