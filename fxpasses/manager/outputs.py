"""Whether a graph returns what the graph before it returned, under a pass's claim about outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fxpasses.graph.bits import first_difference, kind_of
from fxpasses.graph.calls import leaves, map_structure
from fxpasses.graph.observe import Observed
from fxpasses.manager.contract import OutputsClaim


class OutputComparison:
    """Compares what two graphs computed on the same inputs.

    Args:
        before: What the first graph computed.
        after: What the second one computed.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.
    """

    def __init__(self, before: Observed, after: Observed, *, atol: float = 0.0, rtol: float = 0.0) -> None:
        self.before = before
        self.after = after
        self.tolerance: Mapping[str, float] = {"atol": atol, "rtol": rtol}

    def difference(self, claim: OutputsClaim) -> str | None:
        """Says what differs from what the claim allows, or returns None.

        Args:
            claim: `equal`: the same outputs. `renamed`: the same values in the same order, in another structure.
                `at_birth`: the same outputs, or what they were before something was written into them.
                `subset`: each output is a value of the first graph, that of the same name if there is one.
        """
        if claim == "subset":
            return self._beyond_subset()
        expected, actual = self.before.output, self.after.output
        if claim == "renamed":
            expected, actual = list(leaves(expected)), list(leaves(actual))
        found = first_difference(actual, expected, **self.tolerance)
        return None if claim == "at_birth" and self._are_births() else found

    def _beyond_subset(self) -> str | None:
        for name in self.after.returned:
            if name is not None and not self._is_known(name, self.after.finals[name]):
                return f"{name!r}, which is {_kind(self.after.finals[name])}, is no value that the graph had before"
        return None

    def _is_known(self, name: str, value: object) -> bool:
        if name in self.before.births:
            expected = [self.before.births[name], self.before.finals[name]]
            return self._is_one_of(value, expected) or self._is_written_in_part(name)
        known = [*leaves(self.before.births), *leaves(self.before.finals)]
        return all(self._is_one_of(leaf, known) for leaf in leaves(value))

    def _is_written_in_part(self, name: str) -> bool:
        """Whether the value differs only in that some of what was written into it later is not, its node being removed."""
        births, before = self.after.births, self.before.births
        return births.keys() < before.keys() and self._is_one_of(births[name], [before[name]])

    def _are_births(self) -> bool:
        """Whether each output is what it was in the end, or what it was at its birth."""
        finals, actual = list(leaves(self.before.output)), list(leaves(self.after.output))
        births: list[object] = []
        for name in self.before.returned:
            births += finals[len(births) : len(births) + 1] if name is None else leaves(self.before.births[name])
        is_nested_alike = first_difference(_nesting(self.after.output), _nesting(self.before.output)) is None
        is_aligned = is_nested_alike and len(births) == len(finals)
        return is_aligned and all(map(self._is_one_of, actual, map(list, zip(finals, births, strict=True))))

    def _is_one_of(self, value: object, expected: list[Any]) -> bool:
        return any(first_difference(value, each, **self.tolerance) is None for each in expected)


def _nesting(value: object) -> object:
    return map_structure(value, lambda _: None)


def _kind(value: object) -> str:
    return kind_of(value) if isinstance(value, torch.Tensor) else repr(value)
