"""`PassManager`: runs passes in the order given, recompiles once, and undoes everything when one fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from torch import fx

from fxpasses.manager.contract import PassLike
from fxpasses.manager.execution import Composite, Execution, PipelineResult
from fxpasses.manager.instrument import Instrument
from fxpasses.manager.needs import Placed
from fxpasses.manager.repeat import Repeat
from fxpasses.manager.sequence import checked_passes, placed_in, run_in_order
from fxpasses.manager.text.grammar import read
from fxpasses.manager.text.passes import pass_of, text_of_pass


@dataclass(frozen=True)
class PassManager(Composite):
    """Runs passes over a graph module; is itself a pass, so that pipelines nest.

    It runs exactly the order given. An unmet need is an error before anything runs, never a silent reorder.
    The module is recompiled once, at the end, and not at all if nothing changed. If a pass raises, the graph
    module is what it was before the pipeline began.

    Attributes:
        passes: What to run: passes of fxpasses, or any `f(graph_module) -> PassResult`.
        instruments: What watches the run, such as `Verify()`; they see the passes of nested pipelines too.
        undo: Whether the graph module is put back if a pass raises. False saves remembering it, for a graph module that
            nobody else holds.

    Example:
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> result = PassManager([NameNodes()])(fx.symbolic_trace(lambda x: x + 1))
        >>> result.modified, [child.name for child in result.report.children]
        (True, ['name-nodes'])
    """

    text_name: ClassVar[str] = "pipeline"

    passes: tuple[PassLike, ...]
    instruments: tuple[Instrument, ...] = field(compare=False, repr=False)
    undo: bool = field(compare=False, repr=False)

    def __init__(
        self, passes: Iterable[PassLike], *, instruments: Iterable[Instrument] = (), undo: bool = True
    ) -> None:
        """Takes the passes in the order in which they run."""
        object.__setattr__(self, "passes", checked_passes(type(self).__name__, passes))
        object.__setattr__(self, "instruments", tuple(instruments))
        object.__setattr__(self, "undo", undo)

    @classmethod
    def parse(cls, text: str, *, instruments: Iterable[Instrument] = ()) -> PassManager:
        """Reads a pipeline from its text, as `str` writes it; `fxpasses.manager.text.grammar` has the grammar.

        Raises:
            PipelineSyntaxError: The text is malformed, or names a pass or an option that does not exist.

        Example:
            >>> manager = PassManager.parse("repeat{limit=3}(fxpasses.passes.name_nodes.NameNodes)")
            >>> manager.passes
            (Repeat(passes=(NameNodes(style='exact'),), limit=3),)
        """
        composites = {"pipeline": cls, "repeat": Repeat}
        return cls([pass_of(each, composites) for each in read(text)], instruments=instruments)

    def __str__(self) -> str:
        """Writes the pipeline as text; what no text stands for is marked by `<>`."""
        return ", ".join(map(text_of_pass, self.passes))

    def instrumented(self, *instruments: Instrument) -> PassManager:
        """Returns the same pipeline with these instruments after those that it has."""
        return type(self)(self.passes, instruments=(*self.instruments, *instruments), undo=self.undo)

    def placed(self, prefix: tuple[int, ...]) -> Iterator[Placed]:
        """Yields every pass inside, nested ones too, in the order of running."""
        return placed_in(self.passes, prefix)

    def run(self, execution: Execution, graph_module: fx.GraphModule, position: tuple[int, ...]) -> PipelineResult:
        """Runs the passes one after the other as a part of `execution`."""
        with execution.watched_by(self.instruments, graph_module):
            result = run_in_order(execution, self.passes, graph_module, position, "pipeline")
        for instrument in self.instruments:
            instrument.after_pipeline(result.graph_module)
        return result
