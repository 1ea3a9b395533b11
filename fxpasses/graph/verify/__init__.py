"""Whether a graph module is well formed, with the nodes around whatever is not."""

from fxpasses.graph.verify.problem import Problem
from fxpasses.graph.verify.verifier import Verifier, describe, problems, verify

__all__ = ["Problem", "Verifier", "describe", "problems", "verify"]
