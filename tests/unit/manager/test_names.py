from __future__ import annotations

from functools import lru_cache, partial

import pytest

from fxpasses.manager import pass_name
from fxpasses.manager.names import kebab_case


@pytest.mark.parametrize(
    ("class_name", "spelled"),
    [
        ("NameNodes", "name-nodes"),
        ("DCEPass", "dce-pass"),
        ("FoldBN2dIntoConv", "fold-bn2d-into-conv"),
        ("Fold_BN", "fold-bn"),
        ("plain", "plain"),
    ],
)
def test_a_class_name_is_spelled_in_kebab_case(class_name: str, spelled: str) -> None:
    assert kebab_case(class_name) == spelled


def test_a_lambda_that_hides_where_it_was_written_is_called_a_lambda() -> None:
    assert pass_name(lru_cache(lambda graph_module: None)) == "<lambda>"
    assert pass_name(partial(lru_cache(lambda graph_module: None))) == "partial(<lambda>)"
