"""No law finds fault with what is right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from planted.right_passes import RIGHT

from fxpasses import testing as fxt
from fxpasses.testing import strategies as fxst
from fxpasses.testing.case import Case
from fxpasses.testing.shared_run import patient


@pytest.mark.parametrize("name", RIGHT)
def test_no_law_finds_fault_with_a_right_pass(name: str) -> None:
    @settings(patient(), max_examples=30)
    @given(case=fxst.cases())
    def check(case: Case) -> None:
        fxt.check_pass(RIGHT[name], case)

    check()
