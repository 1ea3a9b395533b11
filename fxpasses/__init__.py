"""Graph-rewriting compiler passes for torch.fx, and a feature extractor that is right on every node."""

from __future__ import annotations

from fxpasses.capture import capture_symbolic
from fxpasses.feature_extraction import (
    DualGraphModule,
    LeafModuleAwareTracer,
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)
from fxpasses.manager import Pass, PassManager, PassResult
from fxpasses.passes.collapse_leaves import CollapseLeaves
from fxpasses.passes.diff_modes import DiffModes, ModeDiff
from fxpasses.passes.name_nodes import NameNodes
from fxpasses.passes.prune_to_outputs import PruneToOutputs

__all__ = [
    "CollapseLeaves",
    "DiffModes",
    "DualGraphModule",
    "LeafModuleAwareTracer",
    "ModeDiff",
    "NameNodes",
    "NodePathTracer",
    "Pass",
    "PassManager",
    "PassResult",
    "PruneToOutputs",
    "capture_symbolic",
    "create_feature_extractor",
    "get_graph_node_names",
]
