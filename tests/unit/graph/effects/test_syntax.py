"""The source of a function, and code that has none which can be read."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipimport import zipimporter

import pytest

from fxpasses.graph.effects.source.memory import Unreadable
from fxpasses.graph.effects.source.syntax import definition_of

_SOURCE = """
def plain(a):
    return a

async def coroutine(a):
    return a

unnamed = lambda a: a

def keep(function):
    return lambda decorated: function

@keep(lambda a: a)
def in_front_of_a_function(a):
    return 3
"""


@pytest.fixture
def functions(request: pytest.FixtureRequest) -> dict[str, Callable[..., Any]]:
    file = f"<{request.node.name}>"
    linecache.cache[file] = (len(_SOURCE), None, _SOURCE.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(compile(_SOURCE, file, "exec"), namespace)
    return namespace


def test_a_plain_function_is_its_definition(functions: dict[str, Any]) -> None:
    assert ast.unparse(definition_of(functions["plain"])) == "def plain(a):\n    return a"


@pytest.mark.parametrize("name", ["coroutine", "unnamed", "in_front_of_a_function"])
def test_what_is_no_plain_function_is_not_read(functions: dict[str, Any], name: str) -> None:
    with pytest.raises(Unreadable, match="is not a plain function"):
        definition_of(functions[name])


def test_what_has_no_source_is_not_read() -> None:
    namespace: dict[str, Any] = {}
    exec("def without_source(a): return a", namespace)
    with pytest.raises(Unreadable):
        definition_of(namespace["without_source"])


def test_the_source_of_code_that_is_in_no_file_is_found_by_its_loader(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("zipped.py", "def zipped(a):\n    return a\n")
    spec = zipimporter(str(tmp_path / "archive.zip")).find_spec("zipped")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert ast.unparse(definition_of(module.zipped)) == "def zipped(a):\n    return a"
