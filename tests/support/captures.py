"""The laws of design.md hold for every capture: the same test, once for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from fxpasses.feature_extraction.captures import CaptureName
from fxpasses.testing import SharedRun

SHARES: dict[CaptureName, float] = {"symbolic": 0.79, "values": 0.2, "export": 0.01}
"""The captures, each with its share of a law's examples: an export is slow, too slow to shrink."""


class OverCaptures:
    """A shared run for each capture; a law `law(capture, drawn, ...)` becomes one test a capture."""

    def __init__(self, *strategies: st.SearchStrategy[Any]) -> None:
        self._runs = {
            capture: SharedRun(st.just(capture), *strategies, settings=_settings(capture, share))
            for capture, share in SHARES.items()
        }

    def law(self, check: Callable[..., None]) -> Callable[..., None]:
        """Makes the tests of a law."""
        laws = [pytest.param(run.law(check), id=capture) for capture, run in self._runs.items()]

        @pytest.mark.parametrize("holds", laws)
        def test(holds: Callable[[], None]) -> None:
            holds()

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test


def _settings(capture: CaptureName, share: float) -> settings:
    phases = [phase for phase in Phase if capture != "export" or phase is not Phase.shrink]
    return settings(max_examples=max(round(settings.default.max_examples * share), 1), phases=phases)
