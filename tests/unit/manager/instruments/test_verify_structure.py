from __future__ import annotations

import pytest
import torch
from torch import fx

from fxpasses.errors import PassError
from fxpasses.manager import PassManager, VerifyStructure


def traced() -> fx.GraphModule:
    return fx.symbolic_trace(lambda x: torch.relu(x + 1))


def clears_users(graph_module: fx.GraphModule) -> None:
    graph_module.graph.output_node().args[0].users.clear()


def raises(graph_module: fx.GraphModule) -> None:
    raise NotImplementedError("relu")


def test_a_pass_that_raises_is_told_even_of_a_graph_that_was_malformed_from_the_start() -> None:
    verify = VerifyStructure()
    malformed = traced()
    clears_users(malformed)
    with pytest.raises(PassError, match=r"^raises \(pass 1\) raised NotImplementedError: relu\n"):
        PassManager([raises], instruments=[verify])(malformed)
    with pytest.raises(PassError, match=r"^After clears_users \(pass 1\): The graph is malformed"):
        PassManager([clears_users], instruments=[verify])(traced())
    with pytest.raises(PassError, match=r"^raises \(pass 1\) raised NotImplementedError: relu\n"):
        PassManager([raises], instruments=[verify])(malformed)
