"""The pass contract, the pass manager and its instruments; knows no concrete pass."""

from __future__ import annotations

from fxpasses.manager.audit_meta import AuditMeta, MetaLoss
from fxpasses.manager.blaming import Blame, blame
from fxpasses.manager.claims import CheckClaims
from fxpasses.manager.contract import ALL_FACTS, Pass, PassLike, PassResult
from fxpasses.manager.dump_graphs import DumpGraphs, PrintChanges
from fxpasses.manager.execution import PipelineResult
from fxpasses.manager.gates import SkipPasses, StopAfter
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.names import pass_name
from fxpasses.manager.pass_manager import PassManager
from fxpasses.manager.provenance import Cause, Provenance
from fxpasses.manager.registry import registered_names
from fxpasses.manager.repeat import Repeat
from fxpasses.manager.report import Report
from fxpasses.manager.verify_structure import VerifyStructure
from fxpasses.manager.verify_values import VerifyValues

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
