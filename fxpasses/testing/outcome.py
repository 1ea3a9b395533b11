"""Everything that running a graph does: what it returns, what it leaves in buffers, inputs and the random stream."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import fx, nn

from fxpasses.graph.bits import cloned, first_difference

Mode = Literal["train", "eval"]


@dataclass(frozen=True)
class Outcome:
    """What one run did.

    Attributes:
        output: What was returned; the exception if the run raised one.
        state: Parameters and buffers after the run, by name.
        inputs: The inputs after the run: a run may write them.
        random: The state of torch's random generator after the run.
    """

    output: Any
    state: Mapping[str, torch.Tensor]
    inputs: Any
    random: torch.Tensor

    def difference(self, expected: Outcome, *, atol: float = 0.0, rtol: float = 0.0) -> str | None:
        """Says what differs from the expected outcome first, or returns None."""
        if isinstance(self.output, Exception) or isinstance(expected.output, Exception):
            return _raised(self.output, expected.output)
        found = first_difference(self.output, expected.output, atol=atol, rtol=rtol)
        if found is not None:
            return f"the output differs: {found}"
        for name in filter(self.state.__contains__, expected.state):
            found = first_difference(self.state[name], expected.state[name], atol=atol, rtol=rtol)
            if found is not None:
                return f"after the run, {name!r} differs: {found}"
        found = first_difference(self.inputs, expected.inputs, atol=atol, rtol=rtol)
        if found is not None:
            return f"the inputs are written differently: {found}"
        if not torch.equal(self.random, expected.random):
            return "the random generator is left in another state: random operations were added or lost"
        return None


def _raised(actual: Any, expected: Any) -> str | None:
    if isinstance(actual, Exception) and isinstance(expected, Exception):
        return None if type(actual) is type(expected) else f"raises {actual!r} instead of {expected!r}"
    if isinstance(actual, Exception):
        return f"raises {type(actual).__name__}: {actual}"
    return f"returns a value instead of raising {expected!r}"


def run(
    graph_module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    mode: Mode | None = None,
    seed: int = 0,
    interpret: bool = False,
) -> Outcome:
    """Run a module once, and put its state, its mode and the random generator back.

    Args:
        graph_module: The module to run.
        args: The inputs by position; the run gets copies of them.
        kwargs: The inputs by keyword.
        mode: The mode to run it in; by default, and where it is in that mode anyway, every flag stays as it is.
        seed: What the random generator is seeded with before the run.
        interpret: Whether to interpret the graph instead of calling its generated code.
    """
    args, kwargs = cloned(tuple(args)), cloned(dict(kwargs))
    with torch.random.fork_rng(devices=[]), state_restored(graph_module), in_mode(graph_module, mode):
        torch.default_generator.manual_seed(seed)
        try:
            call = _interpreted(graph_module) if interpret else graph_module
            with redirect_stderr(io.StringIO()):  # a graph module prints its code when it raises
                output = cloned(call(*args, **kwargs))
        except Exception as error:
            output = error
        return Outcome(output, _state(graph_module), (args, dict(kwargs)), torch.get_rng_state())


def _interpreted(graph_module: nn.Module) -> Any:
    if not isinstance(graph_module, fx.GraphModule):
        return graph_module

    def call(*args: Any, **kwargs: Any) -> Any:
        placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
        rest = [
            kwargs[node.target] if node.target in kwargs else node.args[0]
            for node in placeholders[len(args) :]
            if node.target in kwargs or node.args
        ]
        interpreter = fx.Interpreter(graph_module)
        interpreter.extra_traceback = False
        return interpreter.run(*args, *rest)

    return call


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in _tensors(module).items()}


@contextmanager
def state_restored(module: nn.Module) -> Generator[None]:
    """Puts the values of parameters and buffers back in the end."""
    before = _tensors(module)
    values = {name: tensor.detach().clone() for name, tensor in before.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in before.items():
                if not torch.equal(tensor, values[name]):
                    tensor.copy_(values[name])


@contextmanager
def in_mode(module: nn.Module, mode: Mode | None) -> Generator[None]:
    """Puts a module into a mode for a while; where it is in that mode already, every flag stays as it is."""
    flags = {each: each.training for each in module.modules()}
    try:
        if mode is not None and module.training != (mode == "train"):
            module.train(mode == "train")
        yield
    finally:
        for each, flag in flags.items():
            each.training = flag
