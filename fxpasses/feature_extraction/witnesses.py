"""What a model really computes: each value seen at the moment at which it is made."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from fxpasses.capture.leaves import default_leaf_modules, is_leaf_class
from fxpasses.capture.modes import left_as_it_was
from fxpasses.capture.symbolic import capture_symbolic
from fxpasses.capture.value_tracer import capture_with_values
from fxpasses.errors import CaptureError, FidelityWarning, UnselectableValueError
from fxpasses.graph.bits import cloned
from fxpasses.graph.calls import leaves, map_structure
from fxpasses.graph.interpreter import Interpreter
from fxpasses.graph.meta import name_and_style, qualified_name, scopes
from fxpasses.graph.regions import module_calls
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes

Call = tuple[str, int]
"""The path of a module, and how many calls of it came before."""


class EagerModel:
    """Runs a model with forward hooks, which clone what each module call returns at that moment.

    Attributes:
        output: What the model returned.
        returned: What each call returned.
    """

    def __init__(self, model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.returned: dict[Call, Any] = {}
        self._counts: Counter[str] = Counter()
        handles = [module.register_forward_hook(self._hook(path)) for path, module in model.named_modules()]
        try:
            self.output = cloned(model(*args, **kwargs))
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, path: str) -> Any:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            self.returned[path, self._counts[path]] = cloned(output)
            self._counts[path] += 1

        return keep


class WholeGraph(Interpreter):
    """Runs a graph of the whole model, with nothing pruned and nothing copied, and clones each value when it is made.

    Attributes:
        module: The graph module.
        names: Its names.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.names = NamedValues(module)
        self.module: fx.GraphModule = module
        self._births: dict[fx.Node, Any] = {}

    def run_with(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Runs the graph on the arguments of a call of the model."""
        values = list(args)
        for node in self.module.graph.find_nodes(op="placeholder")[len(values) :]:
            if node.target not in kwargs and not node.args:
                break
            values.append(kwargs.get(str(node.target), *node.args))
        return self.run(*values)

    def run_node(self, n: fx.Node) -> Any:
        """Runs one node."""
        value = super().run_node(n)
        self._births[n] = cloned(value)
        return value

    def value(self, name: str) -> Any:
        """Returns what `name` stands for, from values at birth.

        Raises:
            LookupError: The graph has no such value.
        """
        try:
            structure = self.names.value(name)
        except UnselectableValueError as error:
            raise LookupError(name) from error
        return map_structure(structure, lambda part: self._births[part] if isinstance(part, fx.Node) else part)

    def nodes(self, name: str) -> list[fx.Node]:
        """Returns the nodes that `name` stands for."""
        return [part for part in leaves(self.names.value(name)) if isinstance(part, fx.Node)]


def whole_graph(
    model: nn.Module, extractor: fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> WholeGraph | None:
    """Captures a model anew, each module in the mode in which it is, with the leaves and names of an extractor's graph.

    Returns:
        The graph; None if the model can be traced neither symbolically nor with the given inputs.
    """
    styles = {name_and_style(node)[1] for node in extractor.graph.nodes}
    options = {"leaf_modules": _leaf_classes(extractor)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FidelityWarning)
        try:
            captured = capture_symbolic(model, tracer_options=options)
        except CaptureError:
            try:
                captured = capture_with_values(model, tuple(args), kwargs, tracer_options=options)
            except CaptureError:
                return None
        return WholeGraph(NameNodes("torchvision" if "torchvision" in styles else "exact")(captured).graph_module)


def _leaf_classes(extractor: fx.GraphModule) -> list[type[nn.Module]]:
    """Returns the classes of the leaves of a graph that no capture would take for leaves by itself."""
    calls = extractor.graph.find_nodes(op="call_module")
    kinds = {type(extractor.get_submodule(str(node.target))) for node in calls}
    return [kind for kind in kinds if not is_leaf_class(kind, default_leaf_modules())]


def named_calls(graph_module: fx.GraphModule | None, eager: EagerModel) -> dict[str, Call]:
    """Maps each name that stands for what a module call returned to that call."""
    named: dict[str, Call] = {path: (path, index) for path, index in eager.returned if index == 0 and path}
    named.update({f"{path}@{index}": (path, index) for path, index in eager.returned if path})
    if graph_module is None:
        return named
    for node in graph_module.graph.nodes:
        name = qualified_name(node)
        if name is None:
            continue
        inside = scopes(node)[-1:]
        if node.op == "call_module" and inside and inside[0].path == node.target:
            named[name] = (inside[0].path, int(inside[0].key.partition("@")[2] or 0))
        else:
            named.pop(name, None)
    named.update({call.name: (call.path, call.index) for call in module_calls(graph_module) if call.name})
    return {name: call for name, call in named.items() if call in eager.returned}


@contextmanager
def undisturbed(model: nn.Module, *modules: nn.Module) -> Generator[None]:
    """Runs its block, then puts modes, attributes, parameters, buffers and random streams back.

    Args:
        model: The model.
        modules: Others that share tensors with it.
    """
    tensors = {id(tensor): tensor for module in (model, *modules) for tensor in _tensors(module)}
    values = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    with left_as_it_was(model), torch.random.fork_rng():
        try:
            yield
        finally:
            with torch.no_grad():
                for key, tensor in tensors.items():
                    if not tensor.is_meta and not torch.equal(tensor, values[key]):
                        tensor.copy_(values[key])


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
