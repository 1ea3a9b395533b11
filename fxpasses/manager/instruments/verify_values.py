"""`VerifyValues`: runs the graph before and after each pass, and compares what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from fxpasses.errors import VerificationError
from fxpasses.graph.observe import Observed, example_inputs, observe
from fxpasses.manager.contract import OutputsClaim
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.outputs import OutputComparison


class VerifyValues(Instrument):
    """Runs the graph after each pass that changed it; a pass that changes what it returns fails.

    What may change is what the pass claims in `outputs_claim`; a function claims `equal`. Random operations draw
    the same numbers in each run, so a pass that removes one of several changes what the others draw.

    Args:
        inputs: What to run on, one a placeholder; made from the shapes in the placeholders' meta if not given.
        seed: What the random generator is seeded with before each run.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.

    Example:
        >>> import torch
        >>> from fxpasses.manager import PassManager
        >>> def wrong(graph_module):
        ...     list(graph_module.graph.nodes)[1].args = (1, 2)
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> manager = PassManager([wrong], instruments=[VerifyValues([torch.ones(2)])])
        >>> manager(graph_module)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fxpasses.errors.PassError: After wrong (pass 1): The graph returns something else than before: ...
    """

    def __init__(
        self, inputs: Sequence[Any] | None = None, *, seed: int = 0, atol: float = 0.0, rtol: float = 0.0
    ) -> None:
        self.inputs = inputs
        self.seed = seed
        self.atol = atol
        self.rtol = rtol
        self._inputs: Sequence[Any] = ()
        self._before: Observed | None = None

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:
        """Runs the graph as it is given."""
        self._inputs = example_inputs(graph_module, seed=self.seed) if self.inputs is None else tuple(self.inputs)
        self._before = observe(graph_module, self._inputs, seed=self.seed)

    def after_pass(self, step: Step) -> None:
        """Raises `VerificationError` if the graph returns what it should not, or cannot be run."""
        if self._before is None or step.after is step.before:
            return
        try:
            after = observe(step.graph_module, self._inputs, seed=self.seed)
        except Exception as error:
            raise VerificationError(f"The graph cannot be run any more: {error}") from error
        claim: OutputsClaim = getattr(step.pass_, "outputs_claim", "equal")
        comparison = OutputComparison(self._before, after, atol=self.atol, rtol=self.rtol)
        difference = comparison.difference(claim)
        if difference is not None:
            raise VerificationError(f"The graph returns something else than before: {difference}.")
        self._before = after
