"""Runs tests on a changed copy of one module of fxpasses, in a forked process: nothing is written to the source."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
UNUSED = 9  # the exit status of tests that never imported the changed module
_NO_TESTS = 5  # pytest's


class Run(NamedTuple):
    """How a run of tests on a changed module ended.

    Attributes:
        code: What pytest returned; -1 if it ran out of time, or died.
        examples: How many examples hypothesis had tried when it ended.
        seconds: The processor time that it took.
        text: What it printed.
    """

    code: int
    examples: int
    seconds: float
    text: str

    @property
    def found(self) -> bool:
        """Whether a test failed: a run in which nothing was collected finds nothing."""
        return self.code in (-1, 1, 2)


class _Loader(SourceFileLoader):
    """Loads the changed source under the name and the file of the original."""

    def __init__(self, name: str, path: str, source: str | CodeType) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> Any:
        if isinstance(self._source, CodeType):
            return self._source
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, name: str, source: str | CodeType) -> None:
        self._name, self._source = name, source
        self.used = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        self.used = True
        file = str(source_of(name))
        return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file, self._source))


def source_of(module: str) -> Path:
    """The file of a module of fxpasses."""
    return ROOT / (module.replace(".", "/") + ".py")


def run_tests(
    module: str,
    source: str | CodeType,
    tests: Sequence[str],
    *,
    seed: int | None = None,
    limit: int = 0,
    timeout: float = 300.0,
    only: Collection[str] | None = None,
) -> Run:
    """Runs tests until one fails, with another source for one module.

    Args:
        module: The module.
        source: Its source in this run, or that compiled.
        tests: Node ids, from the root of the repository.
        seed: The seed that hypothesis draws from; None for the examples of the default run.
        limit: How many examples each law sees; 0 for as many as its profile says.
        timeout: After how many seconds of processor time the run is ended, and counts as found.
        only: The node ids to run of these tests, in their order; None for all.
    """
    with tempfile.NamedTemporaryFile("r+") as output, tempfile.NamedTemporaryFile("r+") as counted:
        process = os.fork()
        if process == 0:
            plugins = [Counting(limit, seed is None, counted.name)]
            plugins += [Selecting(only)] if only is not None else []
            _child(module, source, tests, seed, timeout, output.name, plugins)
        _, status, usage = os.wait4(process, 0)
        code = os.waitstatus_to_exitcode(status)
        count = Path(counted.name).read_text() or "0"
        text = Path(output.name).read_text(errors="replace")
        nothing = only is not None and code in (UNUSED, _NO_TESTS)  # the change may have taken their names away
        if code not in (0, 1, 2) and code >= 0 and not nothing:
            raise RuntimeError(f"the tests could not be run (status {code}): {text[-2000:]}")
        return Run(max(code, -1), int(count), usage.ru_utime + usage.ru_stime, text)


def _child(
    module: str,
    source: str | CodeType,
    tests: Sequence[str],
    seed: int | None,
    timeout: float,
    output: str,
    plugins: list[Any],
) -> None:
    code = 3
    try:
        import resource

        import pytest

        seconds = int(time.process_time() + timeout)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        os.chdir(ROOT)
        descriptor = os.open(output, os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        finder = _Finder(module, source)
        sys.meta_path.insert(0, finder)  # pyright: ignore[reportArgumentType] - a finder by its shape
        # No assertions rewritten: the hook for that would load the module from its file.
        options = ["-x", "-q", "--no-header", "--tb=line", "--assert=plain", "-m", "not sweep"]
        options += ["-p", "no:cacheprovider", "-p", "no:doctest"]
        options += ["-o", "addopts=--import-mode=importlib"]
        options += [f"--hypothesis-seed={seed}"] if seed is not None else []
        code = int(pytest.main([*options, *tests], plugins=plugins))
        code = code if finder.used else UNUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Counting:
    """A plugin of pytest that counts the examples of every law, and sets how many there are."""

    def __init__(self, limit: int, derandomize: bool, counted: str) -> None:
        self.limit, self.derandomize = limit, derandomize
        self.count = 0
        self._file = Path(counted)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Wraps the body of each law."""
        for law in laws_alone(items):
            handle = law.hypothesis
            handle.inner_test = self._counted(handle.inner_test)
            restrict(law, self.limit, self.derandomize)

    def _counted(self, body: Any) -> Any:
        import functools

        @functools.wraps(body)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            self._file.write_text(str(self.count))
            return body(*args, **kwargs)

        return run


class Selecting:
    """A plugin of pytest that runs only some of the tests, in an order of their own."""

    def __init__(self, only: Collection[str]) -> None:
        self._places = {name: place for place, name in enumerate(only)}
        # A test that is named after an entry of a table has another name when the entry is changed.
        self._functions = {name.partition("[")[0] for name in only}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leaves out the other tests."""
        kept = [item for item in items if item.nodeid.partition("[")[0] in self._functions]
        items[:] = sorted(kept, key=lambda item: self._places.get(item.nodeid, -1))


def laws_alone(items: list[Any]) -> list[Any]:
    """Lets each law among the tests run by itself, where it would share a run with others; returns the laws."""
    from fxpasses.testing.pytest_plugin import shared_law

    laws: list[Any] = []
    for item in items:
        law = test = getattr(item, "obj", None)
        shared = shared_law(item)
        if shared is not None:
            law = shared.alone
            item.obj = law if hasattr(test, "shared_law") else partial(_run_with_parameters, law)
        if hasattr(law, "hypothesis") and law not in laws:
            laws.append(law)
    return laws


def _run_with_parameters(law: Any, **_: Any) -> None:
    """Runs a law in place of a test that has it as a parameter."""
    law()


def restrict(law: Any, limit: int, derandomize: bool) -> None:
    """Sets how many examples a law sees, 0 for as many as its profile says, and whether they are always the same."""
    from hypothesis import HealthCheck, Phase, settings

    chosen: dict[str, Any] = {"max_examples": limit} if limit else {}
    current = getattr(law, "_hypothesis_internal_use_settings", None) or settings()
    law._hypothesis_internal_use_settings = settings(
        current,
        database=None,
        deadline=None,
        derandomize=derandomize,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        **chosen,
    )


def preload() -> None:
    """Imports what is slow to import and no part of fxpasses, so that each fork has it already."""
    import hypothesis.strategies
    import networkx
    import torch
    import torch.fx.experimental.symbolic_shapes
    import torchvision

    torch.set_num_threads(1)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    assert hypothesis.strategies
    assert networkx
    assert torchvision
    assert torch.fx
