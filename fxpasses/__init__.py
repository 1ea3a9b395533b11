"""Graph-rewriting compiler passes for torch.fx, and a feature extractor that is right on every node.

Importing the package imports nothing else, torch included: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxpasses.capture import capture_symbolic
    from fxpasses.feature_extraction import (
        DualGraphModule,
        FidelityReport,
        LeafModuleAwareTracer,
        NodePathTracer,
        check_fidelity,
        create_feature_extractor,
        get_graph_node_names,
        matching_state_dict,
    )
    from fxpasses.graph.verify import verify
    from fxpasses.manager import Pass, PassManager, PassResult
    from fxpasses.passes.collapse_leaves import CollapseLeaves
    from fxpasses.passes.diff_modes import DiffModes, ModeDiff
    from fxpasses.passes.name_nodes import NameNodes
    from fxpasses.passes.protect_outputs import ProtectOutputs
    from fxpasses.passes.prune_to_outputs import PruneToOutputs

__all__ = [
    "CollapseLeaves",
    "DiffModes",
    "DualGraphModule",
    "FidelityReport",
    "LeafModuleAwareTracer",
    "ModeDiff",
    "NameNodes",
    "NodePathTracer",
    "Pass",
    "PassManager",
    "PassResult",
    "ProtectOutputs",
    "PruneToOutputs",
    "capture_symbolic",
    "check_fidelity",
    "create_feature_extractor",
    "get_graph_node_names",
    "matching_state_dict",
    "verify",
]

# The same names as above, by the module that a first use imports.
_HOMES = {
    "fxpasses.capture": ["capture_symbolic"],
    "fxpasses.feature_extraction": [
        "DualGraphModule",
        "FidelityReport",
        "LeafModuleAwareTracer",
        "NodePathTracer",
        "check_fidelity",
        "create_feature_extractor",
        "get_graph_node_names",
        "matching_state_dict",
    ],
    "fxpasses.graph.verify": ["verify"],
    "fxpasses.manager": ["Pass", "PassManager", "PassResult"],
    "fxpasses.passes.collapse_leaves": ["CollapseLeaves"],
    "fxpasses.passes.diff_modes": ["DiffModes", "ModeDiff"],
    "fxpasses.passes.name_nodes": ["NameNodes"],
    "fxpasses.passes.protect_outputs": ["ProtectOutputs"],
    "fxpasses.passes.prune_to_outputs": ["PruneToOutputs"],
}
_SUBPACKAGES = ("capture", "errors", "feature_extraction", "graph", "manager", "passes", "testing")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
