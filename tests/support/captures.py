"""The laws of design.md hold for every capture: the same test, once for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fxpasses.feature_extraction.captures import CaptureName

SHARES: dict[CaptureName, float] = {"symbolic": 0.75, "values": 0.225, "export": 0.025}
"""The captures, each with its share of a law's examples: an export is slow, too slow to shrink."""


def law_of_every_capture(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a law `law(capture, drawn, ...)` one test a capture."""

    def decorate(law: Callable[..., None]) -> Callable[..., None]:
        drawn = dict(zip(list(inspect.signature(law).parameters)[1:], strategies, strict=True))

        @pytest.mark.parametrize("capture", SHARES)
        def test(capture: CaptureName) -> None:
            def run(**values: Any) -> None:
                law(capture, **values)

            run.__name__ = run.__qualname__ = law.__name__  # hypothesis draws by the name
            examples = max(round(settings.default.max_examples * SHARES[capture]), 1)
            phases = [phase for phase in Phase if capture != "export" or phase is not Phase.shrink]
            settings(max_examples=examples, phases=phases)(given(**drawn)(run))()

        test.__name__, test.__doc__, test.__module__ = law.__name__, law.__doc__, law.__module__
        return test

    return decorate
