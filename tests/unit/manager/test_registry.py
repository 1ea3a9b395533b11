from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import fx, nn

from fxpasses.errors import PipelineSyntaxError, UnmetNeedError
from fxpasses.manager import Pass, PassManager, PassResult, registered_names
from fxpasses.manager.registry import providers_of


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs a package that registers passes in no order, one of which cannot be imported."""
    (tmp_path / "acme.py").write_text(
        "from fxpasses.graph.facts import Fact\n"
        "from fxpasses.manager import Pass, PassResult\n"
        "SHAPES = Fact('shapes', lambda graph_module: False)\n"
        "class InferShapes(Pass):\n"
        "    provides = frozenset({SHAPES})\n"
        "    def call(self, graph_module):\n"
        "        return PassResult(graph_module, False)\n"
        "class GuessShapes(InferShapes):\n"
        "    pass\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fxpasses.passes]\nzeta = acme:Missing\ninfer-shapes = acme:InferShapes\nguess-shapes = acme:GuessShapes\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("acme", None)


def test_registered_names_are_sorted_and_imported_only_on_use() -> None:
    names = registered_names()
    assert names == sorted(names)
    assert {"guess-shapes", "infer-shapes", "name-nodes", "zeta"} <= {*names}
    assert "acme" not in sys.modules


def test_all_are_listed_where_no_name_is_near() -> None:
    told = " or ".join(registered_names())
    with pytest.raises(PipelineSyntaxError, match=f"registered as '0'. Did you mean {told}\\? A package registers"):
        PassManager.parse("0")


def test_what_could_provide_a_fact_is_told_in_order_and_without_what_cannot_be_imported() -> None:
    shapes = importlib.import_module("acme").SHAPES
    assert providers_of(shapes) == ["guess-shapes", "infer-shapes"]

    class NeedsShapes(Pass):
        needs = frozenset({shapes})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    with pytest.raises(UnmetNeedError, match=r"Put guess-shapes or infer-shapes before it\.$"):
        PassManager([NeedsShapes()])(fx.symbolic_trace(nn.ReLU()))
