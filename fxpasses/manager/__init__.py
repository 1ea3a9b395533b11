"""The pass contract, the pass manager and its instruments; knows no concrete pass."""

from __future__ import annotations

from fxpasses.manager.contract import ALL_FACTS, Pass, PassLike, PassResult
from fxpasses.manager.execution import PipelineResult
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.names import pass_name
from fxpasses.manager.pass_manager import PassManager
from fxpasses.manager.repeat import Repeat
from fxpasses.manager.report import Report

__all__ = [
    "ALL_FACTS",
    "Instrument",
    "Pass",
    "PassLike",
    "PassManager",
    "PassResult",
    "PipelineResult",
    "Repeat",
    "Report",
    "Step",
    "pass_name",
]
