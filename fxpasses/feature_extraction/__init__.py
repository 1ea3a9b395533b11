"""Feature extraction; offers every name of `torchvision.models.feature_extraction` under the same name."""

from __future__ import annotations

from fxpasses.feature_extraction.checkpoints import matching_state_dict
from fxpasses.feature_extraction.dual_graph_module import DualGraphModule
from fxpasses.feature_extraction.extractor import create_feature_extractor, get_graph_node_names
from fxpasses.feature_extraction.fidelity import FidelityReport, check_fidelity
from fxpasses.feature_extraction.tracers import LeafModuleAwareTracer, NodePathTracer

__all__ = [
    "DualGraphModule",
    "FidelityReport",
    "LeafModuleAwareTracer",
    "NodePathTracer",
    "check_fidelity",
    "create_feature_extractor",
    "get_graph_node_names",
    "matching_state_dict",
]
