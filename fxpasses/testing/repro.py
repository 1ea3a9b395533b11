"""`save_repro`: a failure as a script that needs neither fxpasses nor hypothesis."""

from __future__ import annotations

import inspect
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import fx, nn

from fxpasses.testing.case import Case
from fxpasses.testing.laws.law import Law, PassLike, Trial, name_of
from fxpasses.testing.source import class_source, to_source
from fxpasses.testing.subject import Subject

_HELPERS = """
def apply(graph_module):
    result = pass_(graph_module)
    result = result[0] if isinstance(result, tuple) else result
    result = graph_module if result is None or isinstance(result, bool) else result
    result.recompile()
    return result


def run(module, interpret=False):
    module, (inputs, keywords) = copy.deepcopy(module), copy.deepcopy((args, kwargs))
    torch.manual_seed(0)
    call = torch.fx.Interpreter(module).run if interpret else module
    output = call(*inputs, **keywords)
    return {"output": output, "inputs": inputs, "state": state_of(module), "random": torch.get_rng_state()}


def state_of(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def check_same(actual, expected):
    if "state" in actual and "state" in expected:
        common = actual["state"].keys() & expected["state"].keys()
        actual = {**actual, "state": {name: actual["state"][name] for name in common}}
        expected = {**expected, "state": {name: expected["state"][name] for name in common}}
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def describe(graph_module):
    modes = [(name, each.training) for name, each in graph_module.named_modules()]
    values = {name: tensor.tolist() for name, tensor in state_of(graph_module).items()}
    return str(graph_module.graph), modes, str(values)
"""


class Folder:
    """Where scripts are saved: a folder in the system's one for temporary files, unless it is set."""

    path: Path | None = None

    @classmethod
    def get(cls) -> Path:
        """The folder; made if it is not there."""
        path = cls.path or Path(tempfile.gettempdir()) / "fxpasses-repro"
        path.mkdir(parents=True, exist_ok=True)
        return path


def save_repro(
    path: str | Path,
    pass_: PassLike,
    subject: Case | nn.Module,
    law: Law,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Path:
    """Save a script that shows how a pass breaks a law on a model.

    The script contains the model and its inputs, and imports nothing but torch where the law can be shown on what
    the pass made of the model. Where it takes the pass itself, that is imported, or its source copied.

    Args:
        path: The file to write.
        pass_: The pass.
        subject: The case, graph module or module that it breaks the law on.
        law: The law.
        args: The inputs by position; see `check_pass`.
        kwargs: The inputs by keyword.
    """
    return write_script(Path(path), Trial(pass_, Subject.of(subject, args, kwargs), law))


def write_script(path: Path, trial: Trial) -> Path:
    """Save the script of a trial."""
    path.write_text("\n".join(_script(trial)), encoding="utf-8")
    return path


def save_in_folder(trial: Trial) -> Path:
    """Save the script under the names of pass and law, so that the smallest of many failures is what stays."""
    return write_script(Folder.get() / f"{name_of(trial.pass_)}_{trial.law.slug}.py", trial)


def _script(trial: Trial) -> Iterator[str]:
    law = trial.law
    yield f'"""{name_of(trial.pass_)} breaks the law {law.name}: {law_text(law)}"""\n'
    yield "import copy\nimport inspect\nimport pickle\n"
    yield model_source(trial)
    yield "traced = torch.fx.symbolic_trace(module)\n"
    if mode_of(trial):
        yield mode_of(trial)
    yield from _transformed(trial)
    yield _HELPERS
    if _takes_pass(law) and "transformed" in law.script:
        yield "\ntransformed = apply(copy.deepcopy(traced))"
    yield f"\n{law.script}\n"


def mode_of(trial: Trial) -> str:
    """The line that puts the traced model into the mode in which the law is broken."""
    if trial.mode is None or trial.subject.before.training == (trial.mode == "train"):
        return ""
    return f"traced.{'train' if trial.mode == 'train' else 'eval'}()"


def model_source(trial: Trial) -> str:
    """The subject of a trial as a script."""
    origin = trial.subject.origin
    if isinstance(origin, (Case, fx.GraphModule)):
        return to_source(origin, trial.subject.args, trial.subject.kwargs)
    return to_source(trial.subject.before, trial.subject.args, trial.subject.kwargs)


def law_text(law: Law) -> str:
    """The first line of a law's documentation."""
    return (type(law).__doc__ or law.name).partition("\n")[0]


def _takes_pass(law: Law) -> bool:
    return any(word in law.script for word in ("pass_", "apply(", "transformed.graph"))


def _transformed(trial: Trial) -> Iterator[str]:
    if _takes_pass(trial.law):
        yield from _pass_source(trial.pass_)
        return
    yield f"# What {name_of(trial.pass_)} made of it:"
    after = trial.result.graph_module
    yield "\n".join(class_source(after, "Transformed", "transformed"))
    if mode_of(trial):
        yield mode_of(trial).replace("traced", "transformed")


def _pass_source(pass_: PassLike) -> Iterator[str]:
    what: Any = pass_ if inspect.isfunction(pass_) else type(pass_)
    importable = what.__module__ != "__main__" and "<" not in what.__qualname__
    if importable:
        yield f"from {what.__module__} import {what.__qualname__.partition('.')[0]}"
    else:
        yield _code_of(what)
    if what is pass_:
        yield f"pass_ = {what.__name__}" if "<lambda>" not in what.__name__ else ""
    else:
        spelled = repr(pass_)
        yield f"pass_ = {spelled if spelled.startswith(what.__name__) else f'{what.__name__}()'}"


def _code_of(what: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(what))
    except (OSError, TypeError):
        return f"# the source of {what.__qualname__} cannot be found; define it here"
