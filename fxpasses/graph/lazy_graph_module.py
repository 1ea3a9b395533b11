"""`LazyGraphModule`: a graph module whose code is generated when it is first needed, and once."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, cast

from torch import fx, nn

from fxpasses.graph.empty_dicts import empty_dicts_copied
from fxpasses.graph.generated_code import forget_with
from fxpasses.graph.held_containers import held_containers
from fxpasses.graph.modules import copy_targets
from fxpasses.graph.reachable import make_reachable
from fxpasses.graph.serialize import FlatGraph, copy_graph

COMPILED = ("_code", "_lineno_map", "_prologue_start", "_in_spec", "_out_spec")
"""What `fx.GraphModule.recompile` stores on the instance, besides the `forward` that it puts on the class."""


_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


class ForwardOnDemand:
    """Stands for `forward` on a class until the code is generated; every kind of access generates it.

    It is a descriptor, not a method that forwards, so that whoever looks at `forward` (a second trace,
    `torch.jit.script`, `inspect`) sees the generated function and nothing in front of it.
    """

    def __get__(self, instance: LazyGraphModule | None, owner: type[LazyGraphModule]) -> Callable[..., Any]:
        found = instance if instance is not None else _instance_of(owner)
        if found is None:
            raise AttributeError(f"{owner.__name__}.forward exists on instances only: each has code of its own")
        found.compile_now()
        return getattr(found if instance is not None else owner, "forward")  # noqa: B009 - the class's own, not this one


def forward_on_demand() -> Callable[..., Any]:
    """Returns what stands for `forward` on a class; to whoever uses it, it is a function like any other."""
    return cast("Callable[..., Any]", ForwardOnDemand())


class LazyGraphModule(fx.GraphModule):
    """A `GraphModule` over the model's own leaf modules, parameters and buffers, with code made on demand.

    Containers between the root and a leaf are fresh, empty modules, so that no pass can ever reach into a
    container of the model. Plain tensor attributes stay plain: the state dict holds the model's own keys.
    Copying and pickling keep the graph itself, with the names and meta of its nodes; they never trace again.

    Args:
        root: The module in which the targets of the graph's nodes are found.
        graph: The graph; it is owned by the new module from then on.
        class_name: What the module calls itself when printed.

    Example:
        >>> graph = fx.Graph()
        >>> output = graph.output(graph.call_function(abs, (graph.placeholder("x"),)))
        >>> graph_module = LazyGraphModule(nn.Module(), graph)
        >>> graph_module.is_compiled
        False
        >>> graph_module(-2), graph_module.is_compiled
        (2, True)
    """

    _instance: ClassVar[weakref.ref[LazyGraphModule]]

    forward = forward_on_demand()

    # TorchScript compiles every property that is not named here.
    __jit_unused_properties__ = (*fx.GraphModule.__jit_unused_properties__, "code", "is_compiled")

    def __init__(self, root: nn.Module, graph: fx.Graph, class_name: str = "GraphModule") -> None:
        # The base class copies what nodes refer to in its own way; an empty graph gives it nothing to copy.
        super().__init__(nn.Module(), fx.Graph(tracer_cls=graph._tracer_cls), class_name)
        self.training = root.training
        copy_targets(root, self, graph)
        make_reachable(self, graph)
        self.graph = graph

    @property
    def is_compiled(self) -> bool:
        """Whether the code of the current graph has been generated."""
        return not isinstance(vars(self._own_class())["forward"], ForwardOnDemand)

    def recompile(self) -> Any:
        """Marks the code as out of date; the next use generates it anew."""
        own_class = self._own_class()
        own_class._instance = weakref.ref(self)
        own_class.forward = forward_on_demand()

    def compile_now(self) -> None:
        """Generates the code of the current graph if that has not happened yet."""
        if self.is_compiled:
            return
        visible_class = type(self)
        self.__class__ = cast("Any", self._own_class())
        try:
            with held_containers(self._graph):
                super().recompile()
        finally:
            self.__class__ = visible_class
        forget_with(self, vars(self._own_class())["forward"].__globals__)

    def _own_class(self) -> type[LazyGraphModule]:
        """Returns the class that holds this instance's code: its own, or the one that a host derived its class from.

        Sharding and parametrization change the class of a module to a new subclass of it.
        """
        if type(self).__qualname__.endswith("GraphModuleImpl"):
            return type(self)
        return next(each for each in type(self).__mro__ if each.__qualname__.endswith("GraphModuleImpl"))

    @property
    def code(self) -> str:
        """The Python code of the current graph."""
        self.compile_now()
        return self._code

    def __str__(self) -> str:
        self.compile_now()
        return super().__str__()

    def graphs(self) -> dict[str, fx.Graph]:
        """Returns every graph of the module, by the name of the attribute that holds it."""
        return {"_graph": self._graph}

    def __copy__(self) -> LazyGraphModule:
        own_class = self._own_class()
        result = own_class.__new__(own_class)
        attributes = {name: _own_container(value) for name, value in self._attributes().items()}
        result._adopt(attributes, _each_once(copy_graph, self.graphs()), own_class.__name__)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyGraphModule:
        own_class = self._own_class()
        result = own_class.__new__(own_class)
        memo[id(self)] = result
        graphs = _each_once(copy_graph, self.graphs())
        memo.update(empty_dicts_copied(self))
        result._adopt(copy.deepcopy(self._attributes(), memo), graphs, own_class.__name__)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        flat = _each_once(FlatGraph.of, self.graphs())
        own_class = self._own_class()
        return _rebuild, (own_class.__mro__[1], self._attributes(), flat, own_class.__name__)

    def _attributes(self) -> dict[str, Any]:
        """Returns the instance's attributes without its graphs and what was generated from them."""
        without = {*self.graphs(), *COMPILED, "_compiled_call_impl"}  # the last is what `compile` leaves, as in torch
        return {name: value for name, value in self.__dict__.items() if name not in without}

    def _adopt(self, attributes: dict[str, Any], graphs: dict[str, fx.Graph], class_name: str) -> None:
        self.__dict__.update(attributes)
        type(self).__name__ = class_name
        for name, graph in graphs.items():
            graph.owning_module = self
            self.__dict__[name] = graph
        self.recompile()


def with_own_graph(graph_module: fx.GraphModule) -> LazyGraphModule:
    """Returns a graph module with a copy of the graph and of the meta, and the very same modules and parameters.

    Example:
        >>> graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
        >>> other = with_own_graph(graph_module)
        >>> other.graph is graph_module.graph, other.get_submodule("0") is graph_module.get_submodule("0")
        (False, True)
    """
    result = LazyGraphModule(graph_module, copy_graph(graph_module.graph), type(graph_module).__name__)
    result.meta = dict(graph_module.meta)
    return result


def _own_container(value: Any) -> Any:
    """Copies the dicts in which a module keeps its children, tensors and hooks, so that a shallow copy has its own."""
    return value.copy() if isinstance(value, (dict, set)) else value


def _instance_of(owner: type[LazyGraphModule]) -> LazyGraphModule | None:
    reference = getattr(owner, "_instance", None)
    return None if reference is None else reference()


def _each_once(function: Callable[[_Argument], _Result], values: Mapping[str, _Argument]) -> dict[str, _Result]:
    """Applies `function` to each value; one that stands under several names stays one."""
    results = {id(value): function(value) for value in {id(value): value for value in values.values()}.values()}
    return {name: results[id(value)] for name, value in values.items()}


def _rebuild(
    public_class: type[LazyGraphModule], attributes: dict[str, Any], flat: dict[str, FlatGraph], class_name: str
) -> LazyGraphModule:
    module = public_class.__new__(public_class)
    module._adopt(attributes, _each_once(FlatGraph.graph, flat), class_name)
    return module
