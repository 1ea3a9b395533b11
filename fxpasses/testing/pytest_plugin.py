"""The pytest plugin: a profile, a folder for reproductions, and a section of the report.

It imports nothing but pytest until a test uses the kit: pytest loads it in every run of anyone who has fxpasses.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

PROFILES = {"quick": 50, "default": 400, "thorough": 20_000}
# The ways of pytest-xdist in which a worker may get one test of a shared run and not the others.
DEALT_OUT_ONE_BY_ONE = ("load", "worksteal")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options."""
    group = parser.getgroup("fxpasses", "property tests of graph passes")
    group.addoption(
        "--fxpasses-profile",
        choices=sorted(PROFILES),
        help=f"how many examples each law sees: {', '.join(f'{name} {count}' for name, count in PROFILES.items())}",
    )
    group.addoption("--fxpasses-save-repro", metavar="DIR", help="where scripts that reproduce failures are saved")


def pytest_configure(config: pytest.Config) -> None:
    """Applies the options, if any was given."""
    profile, folder = config.getoption("--fxpasses-profile"), config.getoption("--fxpasses-save-repro")
    if profile is not None:
        _use_profile(profile)
    if folder is not None:
        from fxpasses.testing.repro import Folder

        Folder.path = Path(folder)


def _use_profile(name: str) -> None:
    from hypothesis import HealthCheck, settings

    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile(
        f"fxpasses-{name}", settings(max_examples=PROFILES[name], deadline=None, suppress_health_check=slow)
    )
    settings.load_profile(f"fxpasses-{name}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of pytest-xdist how tests are dealt out."""
    node.workerinput["fxpasses_dist"] = node.config.getoption("dist")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tells laws that share a run which of them are selected."""
    shared_run = sys.modules.get("fxpasses.testing.shared_run")
    dealt_out = getattr(session.config, "workerinput", {}).get("fxpasses_dist")
    if shared_run is None or dealt_out in DEALT_OUT_ONE_BY_ONE:
        return
    shared_run.select([law for item in session.items if (law := shared_law(item)) is not None])


def shared_law(item: pytest.Item) -> Any:
    """The law that a test is about, if that one looks at examples together with others: the test's own, or its parameter."""
    parameters = getattr(item, "callspec", None)
    candidates = [getattr(item, "obj", None), *(parameters.params.values() if parameters else ())]
    return next((law for each in candidates if (law := getattr(each, "shared_law", None)) is not None), None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how often each law looked at something."""
    law = sys.modules.get("fxpasses.testing.laws.law")
    if law is None or not law.FIRED:
        return
    terminalreporter.write_sep("-", "laws of graph passes")
    by_law: dict[str, list[str]] = {}
    for (name, aspect), count in sorted(law.FIRED.items()):
        by_law.setdefault(name, []).append(f"{aspect} {count}")
    for name, aspects in by_law.items():
        terminalreporter.write_line(f"{name}: {', '.join(aspects)}")
