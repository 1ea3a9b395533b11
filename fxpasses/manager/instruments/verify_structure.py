"""`VerifyStructure`: verifies the graph after each pass."""

from __future__ import annotations

from operator import attrgetter

from torch import fx

from fxpasses.errors import VerificationError
from fxpasses.graph.state import GraphState
from fxpasses.graph.verify import Verifier, describe, problems
from fxpasses.graph.verify.structure import user_problems
from fxpasses.manager.instrument import Instrument, Step

_users_of = attrgetter("users")


class VerifyStructure(Instrument):
    """Verifies the graph after each pass, as `fxpasses.verify` does; a pass that leaves a malformed one fails.

    Where a pass changed nothing, only what can change beside the structure is looked at again: `users` and meta.

    Example:
        >>> from fxpasses.manager import PassManager
        >>> def careless(graph_module):
        ...     list(graph_module.graph.nodes)[0].users.clear()
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> PassManager([careless], instruments=[VerifyStructure()])(graph_module)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fxpasses.errors.PassError: After careless (pass 1): The graph is malformed: 'x' is used by 'add', ...
    """

    def __init__(self) -> None:
        self._verifier = Verifier()
        self._state: GraphState | None = None
        self._users: list[list[dict[fx.Node, None]]] = []
        self._failed = False

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:  # noqa: ARG002 - the base class has it
        """Forgets what other runs verified."""
        self.__init__()

    def before_pass(self, step: Step) -> None:
        """Remembers the uses, once for each structure."""
        if step.before is not self._state:
            self._state = step.before
            self._users = [[dict(node.users) for node in columns.nodes] for columns in step.before.graphs.values()]

    def after_pass(self, step: Step) -> None:
        """Raises `VerificationError` if the graph is malformed."""
        if step.after is not step.before:
            found = list(self._verifier.problems(step.after))
        else:
            found = list(self._verifier.meta_problems(step.after))
            for columns, users in zip(step.after.graphs.values(), self._users, strict=True):
                if list(map(_users_of, columns.nodes)) != users:
                    found += user_problems(columns)
        if found:
            self._failed = True
            raise VerificationError(describe(found))

    def after_restore(self, graph_module: fx.GraphModule) -> None:
        """Raises if no pass is to blame: the graph module was malformed from the start."""
        found = problems(graph_module) if self._failed else []
        if found:
            raise VerificationError(f"Before any pass ran, this was so already. {describe(found)}")
