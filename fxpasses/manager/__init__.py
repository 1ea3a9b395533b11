"""The pass contract and the pass manager; knows no concrete pass."""

from __future__ import annotations

from fxpasses.manager.contract import Pass, PassResult
from fxpasses.manager.pass_manager import PassManager

__all__ = ["Pass", "PassManager", "PassResult"]
