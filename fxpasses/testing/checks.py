"""`check_pass`: every law that a pass claims, on one model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import fx, nn

from fxpasses.errors import LawViolation
from fxpasses.graph.divergence import first_divergence
from fxpasses.testing.case import Case
from fxpasses.testing.laws.claims import laws_for
from fxpasses.testing.laws.law import Law, PassLike, Trial, name_of
from fxpasses.testing.laws.semantics import Equivalent
from fxpasses.testing.laws.watched import PassRaisedError
from fxpasses.testing.outcome import in_mode
from fxpasses.testing.repro import model_source, save_in_folder
from fxpasses.testing.subject import Subject, Trace

MOST_LINES = 60


class TotalViolation(LawViolation):
    """A pass that raised an exception on a model that runs and can be traced."""


class Total(Law):
    """The pass returns, or raises an error that it documents."""

    violation: ClassVar = TotalViolation
    script: ClassVar = "apply(copy.deepcopy(traced))"

    def check(self, trial: Trial) -> None:
        """Raise `TotalViolation` unless the law holds."""
        _ = trial.result
        trial.fired("returned")


def check_pass(
    pass_: PassLike,
    subject: Case | nn.Module,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    laws: Sequence[Law] | None = None,
    allowed: tuple[type[Exception], ...] = (),
    trace: Trace = fx.symbolic_trace,
) -> None:
    """Check that a pass obeys its laws on one model.

    Nothing that is given is changed: each law runs the pass on copies.

    Args:
        pass_: Any function of a graph module that returns a `PassResult`, a graph module, or nothing.
        subject: A generated case, a graph module, or a module to trace.
        args: The inputs by position; a case brings its own, and the placeholders of a graph may hold them in
            `meta["example_value"]`.
        kwargs: The inputs by keyword.
        laws: The laws; by default those that the pass claims, see `laws_for`.
        allowed: Errors that the pass documents; a pass may raise them, and must leave its input alone.
        trace: How a module becomes a graph module.

    Raises:
        LawViolation: A law is broken: its own subclass, with the model as source, the inputs, the first node that
            computes something else, and a script to run.

    Example:
        >>> def drop_relu(graph_module):
        ...     for node in graph_module.graph.nodes:
        ...         if node.target is torch.relu:
        ...             node.replace_all_uses_with(node.args[0])
        >>> import torch
        >>> graph_module = fx.symbolic_trace(lambda x: torch.relu(x) + 1)
        >>> check_pass(drop_relu, graph_module, [torch.ones(2)])
        >>> check_pass(drop_relu, graph_module, [-torch.ones(2)])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fxpasses.testing.laws.semantics.EquivalentViolation: Equivalent: in train mode, the output differs: ...
    """
    __tracebackhide__ = True  # pytest shows what is wrong with the pass, not how that was found
    check_trial(trial_of(pass_, subject, args, kwargs, trace), laws_for(pass_) if laws is None else laws, allowed)


def trial_of(
    pass_: PassLike,
    subject: Case | nn.Module,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    trace: Trace = fx.symbolic_trace,
) -> Trial:
    """A pass and a model, for one law after the other to look at; see `check_pass`."""
    return Trial(pass_, Subject.of(subject, args, kwargs, trace=trace), Total())


class Trials:
    """What a pass made of the latest example, for each law to look at once.

    Args:
        pass_: The pass.
    """

    def __init__(self, pass_: PassLike) -> None:
        self.pass_ = pass_
        self._case: Case | None = None
        self._trial: Trial | None = None
        self._seen_by: set[Law] = set()

    def of(self, case: Case, law: Law) -> Trial:
        """The trial of the pass and the case; the one of before if another law has just looked at this case."""
        # A law that comes again has another example, even if it is the same model.
        if self._trial is None or case is not self._case or law in self._seen_by:
            self._case, self._trial, self._seen_by = case, trial_of(self.pass_, case), set()
        self._seen_by.add(law)
        return self._trial


def check_trial(trial: Trial, laws: Sequence[Law], allowed: tuple[type[Exception], ...] = ()) -> None:
    """Check laws on a pass and a model; see `check_pass`."""
    __tracebackhide__ = True
    for law in laws:
        trial.law = law
        try:
            law.check(trial)
        except LawViolation as violation:
            violation.args = (explain(trial, str(violation)),)
            raise
        except PassRaisedError as raised:
            if isinstance(raised.error, allowed):
                continue
            trial.law = Total()
            message = explain(trial, f"the pass raised {type(raised.error).__name__}: {raised.error}")
            raise TotalViolation(message) from raised.error


def explain(trial: Trial, message: str) -> str:
    """A violation with all that one needs to see it happen."""
    parts = [
        f"{trial.law.name}: {message}",
        f"pass: {trial.pass_ if repr(trial.pass_)[0] != '<' else name_of(trial.pass_)}",
    ]
    parts.append(f"model:\n{textwrap.indent(_limited(model_source(trial)), '    ')}")
    if isinstance(trial.law, Equivalent):
        parts.append(_divergence(trial, trial.law))
    parts.append(f"script: {save_in_folder(trial)}")
    return "\n".join(parts)


def _limited(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= MOST_LINES:
        return text
    return "\n".join([*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES} more lines; see the script"])


def _divergence(trial: Trial, law: Equivalent) -> str:
    before, after = trial.subject.before, trial.result.graph_module
    args, kwargs = trial.subject.inputs()
    with in_mode(before, trial.mode), in_mode(after, trial.mode):
        found = first_divergence(before, after, args, kwargs, atol=law.atol, rtol=law.rtol, seed=law.seed)
    if found is None:
        return "first diverging node: none of those that both graphs have"
    return f"first diverging node:\n{textwrap.indent(str(found), '    ')}"
