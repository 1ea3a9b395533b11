"""What every test runs under: one torch thread, fixed seeds, the hypothesis profiles, and sweeps that resume."""

from __future__ import annotations

import gc
import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from support.golden import assert_golden, printed
from support.state import ModelState
from torch import nn

_ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)
gc.set_threshold(20_000, 20, 20)  # graphs are garbage of many small parts: an eighth of the time of laws went there

# The default run draws the same examples each time; `--hypothesis-profile=explore` draws new ones, and many more.
_common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("default", _common, max_examples=400, derandomize=True, database=None)
settings.register_profile("thorough", _common, max_examples=4000, derandomize=True, database=None)
settings.register_profile("quick", _common, max_examples=8, derandomize=True, database=None)
settings.register_profile("explore", _common, max_examples=2000)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchanged():
    """Returns a function to name models with; a test that has changed one of them fails."""
    watched: list[tuple[nn.Module, ModelState]] = []

    def watch(model: nn.Module) -> nn.Module:
        watched.append((model, ModelState.of(model)))
        return model

    yield watch
    for model, before in watched:
        before.assert_same(model)


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """Returns a function that compares a graph with a file beside the test: `golden(graph, "name")`."""
    folder, update = request.path.parent, request.config.getoption("--update-golden")
    return lambda graph, name: assert_golden(folder / f"{name}.txt", printed(graph), update)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the printed graphs anew")
    parser.addoption("--again", action="store_true", help="run sweeps from the start, not from where they stopped")


def pytest_collection_finish() -> None:
    """Lets the collector forget what is there for good: torch alone is a million objects, to look through each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Lets the collector find everything again: some libraries complain of what is left over at the end."""
    gc.unfreeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the parts of a sweep that passed before with the same sources."""
    if config.getoption("--again") or not _can_remember(config):
        return
    passed = [item for item in items if item.get_closest_marker("sweep") and _mark_of(item).exists()]
    if passed:
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in set(passed)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.when == "call" and report.passed and item.get_closest_marker("sweep") and _can_remember(item.config):
        _mark_of(item).touch()
    return report


def _can_remember(config: pytest.Config) -> bool:
    return hasattr(config, "cache")  # not under `-p no:cacheprovider`


def _mark_of(item: pytest.Item) -> Path:
    name = hashlib.sha256(f"{_sources(item.path)} {item.nodeid}".encode()).hexdigest()
    return item.config.cache.mkdir("passed_sweeps") / name


def _sources(test_file: Path, _known: dict[Path, str] = {}) -> str:  # noqa: B006 - a cache
    if test_file not in _known:
        digest = hashlib.sha256()
        for path in sorted([*_ROOT.glob("fxpasses/**/*.py"), *_ROOT.glob("tests/support/*.py"), test_file]):
            digest.update(path.read_bytes())
        _known[test_file] = digest.hexdigest()
    return _known[test_file]
