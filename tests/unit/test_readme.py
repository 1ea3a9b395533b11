"""The README's Python runs as it stands, its prints print what their comments say, its commands and links are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fxpasses.cli import make_parser
from fxpasses.errors import LawViolation
from fxpasses.testing import Case, Equivalent, check_pass

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / ".github" / "CONTRIBUTING.md"]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def printed_comments(source: str) -> list[str]:
    """Returns what the comments say that the prints print, in order."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", source, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_python_runs_and_prints_what_it_says(document):
    names: dict[str, Any] = {"__name__": document.stem}
    for block in blocks(document, "python"):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(block, document.name, "exec", dont_inherit=True), names)
        assert output.getvalue().splitlines() == printed_comments(block)


def test_the_strangers_pass_is_wrong_as_shown():
    """The README shows what the property test finds; this is the same, on the model that it shows."""
    (shown,) = [block for block in blocks(README, "text") if "EquivalentViolation" in block]
    report = re.sub(r"^E ? ?", "", shown, flags=re.MULTILINE)
    (source,) = re.findall(r"^ model:\n(.*?)(?=^ first diverging)", report, re.DOTALL | re.MULTILINE)
    (wrong,) = [block for block in blocks(README, "python") if "pass_suite" in block]
    names: dict[str, Any] = {}
    exec(wrong, names)
    with pytest.raises(LawViolation) as caught:
        check_pass(names["merge_equal_calls"], Case(textwrap.dedent(source)), laws=[Equivalent()])
    (found,) = re.findall(r"Equivalent: (.*?) differs", report)
    assert found in str(caught.value)


def test_each_command_is_one_of_the_shell():
    lines = [line for block in blocks(README, "console") for line in block.splitlines() if line[0] == "$"]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line[1:])
        assert program == "fxpasses"
        make_parser().parse_args(arguments)


def test_ci_finds_its_two_lines():
    (block,) = re.findall(
        r"^<!-- ci: install and run -->\n```bash\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE
    )
    install, test = block.splitlines()
    assert install.startswith("pip install .")
    assert "pytest" in test
    assert "ci: install and run" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_each_test_that_the_readme_names_is_in_the_file_that_it_links_to():
    named = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [name for name, path in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")] == []
