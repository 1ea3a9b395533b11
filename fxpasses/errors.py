"""Every error and warning that fxpasses raises.

The tree (what is in parentheses is the built-in class that each also is, so that code written for
torchvision's extractor, or for plain Python, keeps catching it):

    FxpassesError
    ├── RequestError (ValueError)             what was asked for cannot be meant
    │   ├── ReturnNodesError                  the arguments that name the outputs contradict each other
    │   ├── DuplicateOutputError              one output key for two values
    │   ├── EmptySelectionError               nothing was asked for
    │   ├── UnknownNodeError                  no value has that name; near names are listed
    │   ├── UnselectableValueError            the name exists, its value cannot be returned
    │   └── UnknownLeafError                  a leaf class, path or predicate that never occurs
    ├── ArgumentTypeError (TypeError)         an argument of the wrong type
    ├── CaptureError (RuntimeError)           the model could not be turned into a graph
    ├── GuardError (RuntimeError)             an extractor called outside of what it was specialised on
    ├── ModeError (RuntimeError)              an extractor of one mode asked for the other
    ├── CollapseError (ValueError)            a module's region cannot become one call
    ├── PassError (RuntimeError)              a pass raised; carries the pass, its place, the graphs
    ├── ContractError (RuntimeError)          a pass broke its own declaration
    │   ├── UnmetNeedError                    a pass needs a fact that nothing before it provides
    │   ├── FalseClaimError                   `modified`, in place or functional: claimed, and not so
    │   └── NotConvergedError                 a repetition that found no fixpoint
    ├── VerificationError (ValueError)        a malformed graph
    ├── PipelineSyntaxError (ValueError)      a pipeline's text that cannot be read
    ├── LawViolation (AssertionError)         a pass broke a law of fxpasses.testing
    └── MissingExtraError (ImportError)       a feature whose optional dependency is not installed

    FxpassesWarning (UserWarning)
    ├── ModeDifferenceWarning                 the requested part differs between train and eval mode
    └── FidelityWarning                       something that a graph cannot carry over from the model

This module imports nothing of the package, so that every other module may import it.
"""

from __future__ import annotations

from typing import Any


class FxpassesError(Exception):
    """Base class of everything that fxpasses raises on purpose."""


class RequestError(FxpassesError, ValueError):
    """A request that cannot be meant: its words are understood, its content is not there."""


class ReturnNodesError(RequestError):
    """`return_nodes`, `train_return_nodes` and `eval_return_nodes` contradict each other."""


class DuplicateOutputError(RequestError):
    """Two values were given the same output key, so that one would be lost."""


class EmptySelectionError(RequestError):
    """A selection without a single name."""


class UnknownNodeError(RequestError):
    """Names that no value has; the message lists near ones and the mode in which a name exists."""


class UnselectableValueError(RequestError):
    """A name that exists, with a value that a graph cannot return."""


class UnknownLeafError(RequestError):
    """A leaf class, path or predicate that matches no module call."""


class ArgumentTypeError(FxpassesError, TypeError):
    """An argument of a type that is not accepted."""


class CaptureError(FxpassesError, RuntimeError):
    """A model that could not be turned into a graph; names module, file and line of the cause."""


class GuardError(FxpassesError, RuntimeError):
    """A graph called with inputs outside of what it was specialised on."""


class ModeError(FxpassesError, RuntimeError):
    """An extractor that was made for one mode, asked for the other."""


class CollapseError(FxpassesError, ValueError):
    """A module's region that cannot become one call; names the module and the escaping value."""


class _StepError(FxpassesError, RuntimeError):
    """What the errors of a pipeline's step have in common.

    Attributes:
        pass_: The pass; None if the error is not about one.
        position: Its place: `(2,)` is the third of the pipeline, `(2, 0)` the first of the pipeline nested there.
        before: A copy of the graph that the pass was given; None if it did not run.
        after: A copy of the graph that it left; None if it did not run.
    """

    def __init__(
        self, message: str, *, pass_: Any = None, position: tuple[int, ...] = (), before: Any = None, after: Any = None
    ) -> None:
        super().__init__(message)
        self.pass_ = pass_
        self.position = position
        self.before = before
        self.after = after


class PassError(_StepError):
    """A pass of a pipeline raised; the cause is chained."""


class ContractError(_StepError):
    """A pass that broke its own declaration, or a pipeline whose declarations do not fit."""


class UnmetNeedError(ContractError):
    """A pass needs a fact that nothing before it in the pipeline provides."""


class FalseClaimError(ContractError):
    """A pass whose result contradicts what its class claims."""


class NotConvergedError(ContractError):
    """A repetition that reached its limit without a fixpoint."""


class VerificationError(FxpassesError, ValueError):
    """A graph that is malformed."""


class PipelineSyntaxError(FxpassesError, ValueError):
    """A pipeline's text that cannot be read."""


class LawViolation(FxpassesError, AssertionError):  # noqa: N818 - what it says is that a law was violated
    """Base class of what `fxpasses.testing` raises, one subclass a law."""


class MissingExtraError(FxpassesError, ImportError):
    """A feature whose optional dependency is not installed; the message gives the install command."""


class FxpassesWarning(UserWarning):
    """Base class of every warning of fxpasses."""


class ModeDifferenceWarning(FxpassesWarning):
    """The requested part of the model differs between train and eval mode."""


class FidelityWarning(FxpassesWarning):
    """Something that a graph cannot carry over from the model."""
