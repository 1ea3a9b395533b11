"""The pass contract, the pass manager and its instruments; knows no concrete pass."""

from __future__ import annotations

from fxpasses.manager.blaming.blame import Blame, blame
from fxpasses.manager.claims import CheckClaims
from fxpasses.manager.contract import ALL_FACTS, Pass, PassLike, PassResult
from fxpasses.manager.execution import PipelineResult
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.instruments.audit_meta import AuditMeta, MetaLoss
from fxpasses.manager.instruments.dump_graphs import DumpGraphs, PrintChanges
from fxpasses.manager.instruments.gates import SkipPasses, StopAfter
from fxpasses.manager.instruments.provenance import Cause, Provenance
from fxpasses.manager.instruments.verify_structure import VerifyStructure
from fxpasses.manager.instruments.verify_values import VerifyValues
from fxpasses.manager.names import pass_name
from fxpasses.manager.pass_manager import PassManager
from fxpasses.manager.registry import registered_names
from fxpasses.manager.repeat import Repeat
from fxpasses.manager.report import Report

__all__ = [
    "ALL_FACTS",
    "AuditMeta",
    "Blame",
    "Cause",
    "CheckClaims",
    "DumpGraphs",
    "Instrument",
    "MetaLoss",
    "Pass",
    "PassLike",
    "PassManager",
    "PassResult",
    "PipelineResult",
    "PrintChanges",
    "Provenance",
    "Repeat",
    "Report",
    "SkipPasses",
    "Step",
    "StopAfter",
    "VerifyStructure",
    "VerifyValues",
    "blame",
    "pass_name",
    "registered_names",
]
