from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import fx, nn

from fxpasses.errors import PipelineSyntaxError, UnmetNeedError
from fxpasses.graph.facts import Fact
from fxpasses.manager import Pass, PassManager, PassResult, Repeat
from fxpasses.manager.registry import registered_names

HERE = __name__


@dataclass(frozen=True)
class Options(Pass):
    count: int = 0
    rate: float = 0.5
    flag: bool = False
    word: str = ""
    kind: type[nn.Module] | None = None
    several: tuple[int | str, ...] = ()
    table: Mapping[str, object] = field(default_factory=dict)

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


@dataclass(frozen=True)
class Renames(Pass):
    keys: tuple[tuple[str, str], ...]

    def __init__(self, keys: Mapping[str, str] | Iterable[str]) -> None:
        pairs = keys.items() if isinstance(keys, Mapping) else ((key, key) for key in keys)
        object.__setattr__(self, "keys", tuple(pairs))

    def call(self, graph_module: fx.GraphModule) -> PassResult:
        return PassResult(graph_module, False)


def a_function(graph_module: fx.GraphModule) -> None:
    pass


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this module importable under its name, as a pass's own package would be."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


@pytest.mark.parametrize(
    ("pass_", "options"),
    [
        (Options(), ""),
        (Options(count=3, rate=1e-3, flag=True), "{count=3, rate=0.001, flag=true}"),
        (Options(word="plain"), "{word=plain}"),
        (Options(word="true"), '{word="true"}'),
        (Options(word="12"), '{word="12"}'),
        (Options(word='a "b", c'), r'{word="a \"b\", c"}'),
        (Options(word="torch.nn.ReLU"), '{word="torch.nn.ReLU"}'),
        (Options(kind=nn.ReLU), "{kind=torch.nn.modules.activation.ReLU}"),
        (Options(several=(1, 2)), "{several=[1, 2]}"),
        (Options(several=(1,)), "{several=1}"),
        (Options(several=("",)), '{several=""}'),
        (Options(table={"layer1.0": "a", "b": None}), "{table={layer1.0=a, b=none}}"),
        (Options(rate=float("inf")), "{rate=inf}"),
        (Renames({"layer3": "c4"}), "{layer3=c4}"),
        (Renames({"keys": "c4"}), "{keys={keys=c4}}"),
        (Renames(["a"]), "{a=a}"),
    ],
)
def test_a_pass_and_its_text(pass_: Pass, options: str) -> None:
    manager = PassManager([pass_])
    assert str(manager) == f"{HERE}.{type(pass_).__name__}{options}"
    assert PassManager.parse(str(manager)) == manager


def test_pipelines_nest_and_repeat() -> None:
    manager = PassManager([a_function, Repeat([PassManager([Options()]), a_function], limit=4), PassManager([])])
    assert str(manager) == (
        f"{HERE}.a_function, repeat{{limit=4}}(pipeline({HERE}.Options), {HERE}.a_function), pipeline()"
    )
    assert PassManager.parse(str(manager)) == manager
    assert PassManager.parse("") == PassManager([])
    assert PassManager.parse("pipeline, repeat{limit=4}") == PassManager([PassManager([]), Repeat([], limit=4)])


def test_space_and_line_breaks_do_not_count() -> None:
    assert PassManager.parse(f"\n{HERE}.Options {{ count = 3 ,\n}},\n repeat ( {HERE}.a_function )\n") == PassManager(
        [Options(count=3), Repeat([a_function])]
    )


def test_a_class_is_found_by_its_path_and_a_dtype_too() -> None:
    manager = PassManager.parse(
        f"{HERE}.Options{{kind=torch.nn.ReLU, table={{dtype=torch.float16, keep=layer1.conv}}}}"
    )
    assert manager.passes == (Options(kind=nn.ReLU, table={"dtype": torch.float16, "keep": "layer1.conv"}),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,", "expected the name of a pass, found the end:"),
        ("a b", "expected ',' or the end, found 'b'"),
        ("pipeline(a", r"expected '\)', found the end"),
        ("a{b}", "expected '=', found '}'"),
        ("a{b=}", "expected a value, found '}'"),
        ("a{b=1 c=2}", "expected ',' or '}', found 'c'"),
        ("a{b=1, b=2}", "the option 'b' is given twice, found 'b':"),
        ('"ab', "a string that does not end"),
        ("no-such-pass", "No pass is registered as 'no-such-pass'"),
        (f"{HERE}.Option", f"leads nowhere: {HERE} has no 'Option'. Did you mean Options"),
        (f"{HERE}.Options{{cuont=1}}", "has no option 'cuont'. Did you mean 'count'"),
        (f"{HERE}.Options{{kind=torch.nn.Relu}}", "torch.nn has no 'Relu'"),
        (f"{HERE}.a_function{{count=1}}", "is a function, which takes no options"),
        (f"{HERE}.Options(a)", "takes no passes in parentheses; only pipeline and repeat do"),
        (f"{HERE}.Renames{{keys={{a=b}}, c=d}}", r"has no option 'c'\. It takes: keys"),
        (f"{HERE}.Renames", "needs the option 'keys'"),
        (f"{HERE}.Options{{word=<Sequential>}}", "<Sequential> marks a value that no text stands for"),
    ],
)
def test_a_text_that_cannot_be_meant(text: str, message: str) -> None:
    with pytest.raises(PipelineSyntaxError, match=message):
        PassManager.parse(text)


def test_the_place_of_a_mistake_is_shown() -> None:
    with pytest.raises(PipelineSyntaxError, match=r"\n  ab, \)\n      \^$"):
        PassManager.parse("ab, )")


def test_what_no_text_stands_for_is_marked() -> None:
    assert str(PassManager([lambda _: None])) == "<lambda>"
    assert str(PassManager([Options(kind=nn.ReLU(), word="a")])) == f"{HERE}.Options{{word=a, kind=<ReLU>}}"
    with pytest.raises(PipelineSyntaxError, match="<lambda>"):
        PassManager.parse("<lambda>")


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs a package that registers a pass, as far as the import system can tell."""
    (tmp_path / "acme.py").write_text(
        "from dataclasses import dataclass\n"
        "from fxpasses.graph.facts import Fact\n"
        "from fxpasses.manager import Pass, PassResult\n"
        "SHAPES = Fact('shapes', lambda graph_module: False)\n"
        "@dataclass(frozen=True)\n"
        "class InferShapes(Pass):\n"
        "    provides = frozenset({SHAPES})\n"
        "    batch: int = 1\n"
        "    def call(self, graph_module):\n"
        "        return PassResult(graph_module, False)\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fxpasses.passes]\ninfer-shapes = acme:InferShapes\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("acme", None)


@pytest.mark.usefixtures("third_party")
def test_a_third_partys_pass_is_found_by_its_entry_point() -> None:
    manager = PassManager.parse("infer-shapes{batch=8}")
    assert type(manager.passes[0]).__name__ == "InferShapes"
    assert str(manager) == "infer-shapes{batch=8}"
    assert "infer-shapes" in registered_names()
    with pytest.raises(PipelineSyntaxError, match="Did you mean infer-shapes"):
        PassManager.parse("infer-shape")


@pytest.mark.usefixtures("third_party")
def test_an_unmet_need_names_a_registered_pass_that_provides_it() -> None:
    shapes = importlib.import_module("acme").SHAPES

    @dataclass(frozen=True)
    class NeedsShapes(Pass):
        needs: ClassVar[frozenset[Fact]] = frozenset({shapes})

        def call(self, graph_module: fx.GraphModule) -> PassResult:
            return PassResult(graph_module, False)

    with pytest.raises(UnmetNeedError, match=r"needs the fact 'shapes'.* Put infer-shapes before it\."):
        PassManager([NeedsShapes()])(fx.symbolic_trace(nn.ReLU()))
