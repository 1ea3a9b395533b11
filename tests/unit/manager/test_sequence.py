from __future__ import annotations

import re

import pytest
from torch import fx, nn

from fxpasses.errors import ArgumentTypeError
from fxpasses.manager import PassManager, Repeat
from fxpasses.passes.name_nodes import NameNodes


def a_function(graph_module: fx.GraphModule) -> None:
    pass


@pytest.mark.parametrize("given", ["name-nodes", NameNodes, NameNodes(), a_function, nn.Sequential(nn.ReLU()), 3, None])
@pytest.mark.parametrize("composite", [PassManager, Repeat])
def test_what_is_no_list_of_passes_is_refused_as_a_whole(composite: type[PassManager | Repeat], given: object) -> None:
    said = f"{composite.__name__} takes a list of passes, got {given!r}. PassManager.parse reads a text."
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(said)}$"):
        composite(given)  # pyright: ignore[reportArgumentType] - the mistake under test


def test_passes_may_come_from_any_iterable() -> None:
    assert PassManager(iter([a_function])) == PassManager((a_function,)) == PassManager({a_function: 1})
