"""`Case`: a model with inputs, as a script that anyone can run."""

from __future__ import annotations

import ast
import hashlib
import linecache
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import fx, nn

# Classes of a generated model are pickled by their module's name, so the latest of these modules stay importable.
_KEPT_MODULES = 32
_modules: OrderedDict[str, None] = OrderedDict()
# hypothesis keeps every module that it takes for the user's own for as long as the process lives, to look for constants
# in its file; those in a folder `test` it leaves alone.
_FOLDER = "<generated>/test"
# Seeding all devices formats the whole stack for each of them, which takes longer than the rest of a script.
_SEEDS_ALL_DEVICES = re.compile(r"^torch\.manual_seed\(", re.MULTILINE)
_SEEDS_THE_CPU = "torch.default_generator.manual_seed("


class Built(NamedTuple):
    """A freshly made module and fresh inputs for it."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Case:
    '''A model and the inputs to call it with.

    The source is a script that defines `module`, `args` and `kwargs`. The repr of a case is the expression that
    makes it again, so that a failing example can be pasted into a test.

    Attributes:
        source: The script.
        features: What the generator put into the model; see `fxpasses.testing.strategies.ALL`.
        make_graph: Builds the graph that `torch.fx.symbolic_trace` gives for the module, faster than that; a case
            that was made from its script alone has none.

    Example:
        >>> case = Case("""
        ... import torch
        ... module = torch.nn.ReLU()
        ... args = (torch.tensor([-1.0, 2.0]),)
        ... kwargs = {}
        ... """)
        >>> case.module(*case.args, **case.kwargs)
        tensor([0., 2.])
        >>> eval(repr(case)) == case
        True
    '''

    source: str
    features: frozenset[str] = field(default=frozenset(), compare=False)
    make_graph: Callable[[], fx.GraphModule] | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """The expression that makes the case again."""
        if "'''" in self.source or "\\" in self.source:
            return f"Case({self.source!r})"
        return f"Case('''\n{self.source.strip()}\n''')"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Makes hypothesis and IPython show the repr."""
        printer.text("Case(...)" if cycle else repr(self))

    def __eq__(self, other: object) -> bool:
        """Two cases are equal if their scripts are, apart from blank lines at the ends."""
        return isinstance(other, Case) and self.source.strip() == other.source.strip()

    def __hash__(self) -> int:
        """The hash of the script."""
        return hash(self.source.strip())

    def build(self) -> Built:
        """Run the script; neither the module nor the inputs are shared with anything else, the classes are."""
        with torch.random.fork_rng(devices=[]):
            namespace = _execute(self.source.strip() + "\n")
        return Built(namespace["module"], tuple(namespace["args"]), dict(namespace["kwargs"]))

    @cached_property
    def _built(self) -> Built:
        return self.build()

    @property
    def module(self) -> nn.Module:
        """The model; always the same object, and in the mode that the case is about."""
        return self._built.module

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional inputs; always the same tensors."""
        return self._built.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The inputs by keyword."""
        return self._built.kwargs

    @property
    def training(self) -> bool:
        """Whether the model is in train mode."""
        return self.module.training


def _execute(source: str) -> Mapping[str, Any]:
    name = f"fxpasses_case_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    filename = _filename(name)
    definitions, rest = _compiled(source, filename)
    if name not in _modules:
        module = sys.modules[name] = types.ModuleType(name)
        module.__file__ = filename  # where inspect looks for the source
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(definitions, module.__dict__)
    _modules[name] = None
    _modules.move_to_end(name)
    while len(_modules) > _KEPT_MODULES:
        oldest, _ = _modules.popitem(last=False)
        sys.modules.pop(oldest, None)
        linecache.cache.pop(_filename(oldest), None)
    namespace = sys.modules[name].__dict__
    exec(rest, namespace)
    return dict(namespace)


def _filename(name: str) -> str:
    return f"{_FOLDER}/{name}.py"


@lru_cache(maxsize=32)
def _compiled(source: str, filename: str) -> tuple[types.CodeType, types.CodeType]:
    """Returns the code of a script in two parts: the imports and classes that it begins with, and the rest.

    A law builds the same case several times. New classes each time would pile up until they are collected, and whatever
    replaces a special method of `nn.Module`, as a trace of torch does, goes through all of them.
    """
    statements = ast.parse(_SEEDS_ALL_DEVICES.sub(_SEEDS_THE_CPU, source)).body
    count = next((place for place, each in enumerate(statements) if not _defines(each)), len(statements))
    parts = [ast.Module(part, []) for part in (statements[:count], statements[count:])]
    definitions, rest = (compile(part, filename, "exec", dont_inherit=True) for part in parts)
    return definitions, rest


def _defines(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef))
