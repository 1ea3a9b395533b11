"""`blame`: the first pass of a pipeline whose result is wrong, on a graph as small as it can be, as a file to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import fx

from fxpasses.errors import ContractError, PassError, RequestError
from fxpasses.graph.observe import Observed
from fxpasses.graph.reduce import minimize
from fxpasses.graph.verify import problems
from fxpasses.manager.blaming.copies import copied, copied_without_tensors, writes_tensors
from fxpasses.manager.blaming.judge import Judgement, Wrong
from fxpasses.manager.blaming.reproducer import script_of
from fxpasses.manager.contract import PassLike
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.instruments.gates import StopAfter
from fxpasses.manager.instruments.verify_structure import VerifyStructure
from fxpasses.manager.instruments.verify_values import VerifyValues
from fxpasses.manager.names import pass_name
from fxpasses.manager.needs import place_text
from fxpasses.manager.pass_manager import PassManager

REWRITE_LIMIT = "rewrite_limit"
"""The option by which a pass offers to make only so many rewrites; its result then counts them as `rewrites`."""


@dataclass(frozen=True)
class Blame:
    """The outcome of `blame`.

    Attributes:
        pass_: The first pass whose result is wrong.
        position: Its place in the pipeline; see `PassError.position`.
        rewrite: Which of its rewrites is the first wrong one, from 1; None if it does not count them.
        wrong: What is wrong with what it makes of the reduced graph.
        graph_module: The reduced graph; the one that was given if it only goes wrong after the passes before it.
        inputs: Inputs that show it.
        script: A Python script that shows it.
    """

    pass_: PassLike
    position: tuple[int, ...]
    rewrite: int | None
    wrong: Wrong
    graph_module: fx.GraphModule
    inputs: tuple[Any, ...]
    script: str

    @property
    def operations(self) -> int:
        """How many operators the reduced graph has."""
        return sum(node.op.startswith("call_") for node in self.graph_module.graph.nodes)

    def __str__(self) -> str:
        """Says which pass is wrong, and how."""
        rewrite = "" if self.rewrite is None else f", rewrite {self.rewrite}"
        where = f"{pass_name(self.pass_)} (pass {place_text(self.position)}{rewrite})"
        return f"{where}: {self.wrong.text}\nA graph that shows it:\n{self.graph_module.graph}"

    def write(self, path: str | Path) -> None:
        """Writes the script to a file; run it with Python, and it prints what is expected and what is there."""
        Path(path).write_text(self.script, encoding="utf-8")


def blame(
    manager: PassManager,
    graph_module: fx.GraphModule,
    inputs: Sequence[Any],
    *,
    seed: int = 0,
    atol: float = 0.0,
    rtol: float = 0.0,
) -> Blame | None:
    """Finds the first pass of a pipeline whose result is wrong, and the smallest graph that shows it.

    Wrong is a result that is malformed, cannot be run, or returns something else than what the passes' claims
    about outputs allow; and no result at all. The pipeline is halved until one pass is left, then the rewrites of
    that pass if it counts them (`rewrite_limit`), then the graph before it is reduced.

    Args:
        manager: The pipeline.
        graph_module: What it goes wrong on; it is not changed.
        inputs: What to run the graphs on, one a placeholder.
        seed: What the random generator is seeded with before each run.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.

    Returns:
        The pass and the reduced graph, or None if nothing is wrong.

    Raises:
        RequestError: The graph cannot be run on these inputs even before the first pass.

    Example:
        >>> import torch
        >>> def careless(graph_module):
        ...     for node in graph_module.graph.nodes:
        ...         if node.target is torch.relu:
        ...             node.target = torch.sigmoid
        >>> def model(x):
        ...     return torch.tanh(torch.relu(torch.cos(x) + 1) * 2)
        >>> found = blame(PassManager([careless]), fx.symbolic_trace(model), [torch.randn(3)])
        >>> found.wrong.kind, found.position, [node.name for node in found.graph_module.graph.nodes]
        ('other values', (0,), ['x', 'relu', 'output'])
    """
    manager = PassManager(manager.passes)
    judgement = Judgement(tuple(inputs), seed, atol, rtol)
    try:
        before = judgement.observe(copied(graph_module))
    except Exception as error:
        raise RequestError(f"The graph cannot be run on these inputs even before the first pass: {error}") from error
    steps = _steps(manager, graph_module)
    first = _first_wrong(manager, graph_module, judgement, before, len(steps))
    if first is None:
        return None
    culprit = steps[first]
    given = _after_passes(manager, graph_module, first)
    rewrite = _first_wrong_rewrite(culprit.pass_, given, judgement)
    shown = _by_itself(culprit.pass_, given, judgement) or _with_those_before(
        steps[: first + 1], graph_module, judgement
    )
    script = script_of(*shown)
    small, on_small, wrong = shown[1:]
    return Blame(culprit.pass_, culprit.position, rewrite, wrong, small, tuple(on_small.inputs), script)


@dataclass(frozen=True)
class _Placed:
    pass_: PassLike
    position: tuple[int, ...]


class _Recorder(Instrument):
    """Notes every pass in the order in which they run, those of each round, too."""

    def __init__(self) -> None:
        self.steps: list[_Placed] = []

    def before_pass(self, step: Step) -> None:
        self.steps.append(_Placed(step.pass_, step.position))


def _steps(manager: PassManager, graph_module: fx.GraphModule) -> list[_Placed]:
    recorder = _Recorder()
    with suppress(PassError, ContractError):  # the last step that was noted is the one that failed
        manager.instrumented(recorder)(copied(graph_module))
    return recorder.steps


def _first_wrong(
    manager: PassManager, graph_module: fx.GraphModule, judgement: Judgement, before: Observed, count: int
) -> int | None:
    """Returns the index of the first pass after which the result is wrong."""

    def is_wrong(passes: int) -> bool:
        return judgement.judge(manager.instrumented(StopAfter(passes)), graph_module, before) is not None

    if is_wrong(count):
        return _bisect(is_wrong, count) - 1
    return _first_wrong_by_itself(manager, graph_module, judgement)


def _bisect(is_wrong: Callable[[int], bool], last: int) -> int:
    """Returns the smallest number in 1..last that is wrong; `last` is."""
    good, bad = 0, last
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_wrong(middle):
            bad = middle
        else:
            good = middle
    return bad


def _first_wrong_by_itself(manager: PassManager, graph_module: fx.GraphModule, judgement: Judgement) -> int | None:
    """Compares around each pass: a later pass may have removed what is wrong, or may claim too little to tell."""
    recorder = _Recorder()
    values = VerifyValues(judgement.inputs, seed=judgement.seed, atol=judgement.atol, rtol=judgement.rtol)
    structure = [] if problems(graph_module) else [VerifyStructure()]  # whose fault is not known otherwise
    try:
        manager.instrumented(recorder, *structure, values)(copied(graph_module))
    except (PassError, ContractError):
        return len(recorder.steps) - 1
    return None


def _after_passes(manager: PassManager, graph_module: fx.GraphModule, count: int) -> fx.GraphModule:
    return manager.instrumented(StopAfter(count))(copied(graph_module)).graph_module


def _first_wrong_rewrite(pass_: PassLike, given: fx.GraphModule, judgement: Judgement) -> int | None:
    if not is_dataclass(pass_) or REWRITE_LIMIT not in {each.name for each in fields(pass_)}:
        return None

    def limited(rewrites: int | None) -> PassManager:
        return PassManager([cast("PassLike", replace(cast("Any", pass_), **{REWRITE_LIMIT: rewrites}))])

    before = judgement.observe(given)
    total = cast("int", getattr(limited(None)(copied(given)).results[0], "rewrites", 0))
    if total < 1 or judgement.judge(limited(total), given, before) is None:
        return None
    return _bisect(lambda rewrites: judgement.judge(limited(rewrites), given, before) is not None, total)


_Shown = tuple[PassManager, fx.GraphModule, Judgement, Wrong]
"""A pipeline, the graph and the inputs on which it goes wrong, and what is wrong then."""


def _by_itself(pass_: PassLike, given: fx.GraphModule, judgement: Judgement) -> _Shown | None:
    small, inputs = _reduced(pass_, given, judgement)
    alone, on_small = PassManager([pass_]), replace(judgement, inputs=inputs)
    wrong = on_small.judge(alone, small)
    return None if wrong is None else (alone, small, on_small, wrong)


def _with_those_before(steps: list[_Placed], graph_module: fx.GraphModule, judgement: Judgement) -> _Shown:
    """Shows what takes the passes before it, such as differences that are within the tolerance one by one."""
    together, whole = PassManager([step.pass_ for step in steps]), copied(graph_module)
    wrong = judgement.judge(together, whole) or Wrong("other values", "The graph returns something else.")
    return together, whole, judgement, wrong


def _reduced(pass_: PassLike, given: fx.GraphModule, judgement: Judgement) -> tuple[fx.GraphModule, tuple[Any, ...]]:
    alone = PassManager([pass_])
    copy_of = copied if writes_tensors(alone, given) else copied_without_tensors

    def fails(candidate: fx.GraphModule, args: tuple[Any, ...]) -> str | None:
        candidate.meta.update(given.meta)
        wrong = replace(judgement, inputs=args).judge(alone, candidate, copy_of=copy_of)
        return None if wrong is None else wrong.kind

    try:
        graph_module, args = minimize(given, judgement.inputs, fails)
    except RequestError:  # it only fails with what is not in the graph, such as its way of taking inputs
        return given, tuple(judgement.inputs)
    return graph_module, args
