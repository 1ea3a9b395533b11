"""Finds and parses the source of a function, once for each code object."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from functools import lru_cache
from types import CodeType, FunctionType

from fxpasses.graph.effects.source.memory import Unreadable

_UNREADABLE = (ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal, ast.Match, ast.AsyncFor, ast.AsyncWith)


def definition_of(function: FunctionType) -> ast.FunctionDef:
    """Returns the syntax tree of a function's definition.

    Raises:
        Unreadable: There is no source, or it uses something that the reader does not follow.
    """
    # The loader in a function's globals finds the source of code that is in no file of its own, such as that in an archive.
    linecache.lazycache(function.__code__.co_filename, function.__globals__)
    return _definition(function.__code__)


@lru_cache(maxsize=4096)
def _definition(code: CodeType) -> ast.FunctionDef:
    # `inspect.getsource` looks through all of `sys.modules` for each function, which costs more than the parsing.
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    try:
        tree = ast.parse(textwrap.dedent("".join(inspect.getblock(lines))))
    except (SyntaxError, IndexError) as error:
        raise Unreadable(f"no source for {code.co_name}") from error
    found = tree.body[0] if tree.body else None
    if not isinstance(found, ast.FunctionDef) or found.name != code.co_name:
        raise Unreadable(f"{code.co_name} is not a plain function")
    if any(isinstance(node, _UNREADABLE) for node in ast.walk(found)):
        raise Unreadable(f"{code.co_name} is a generator, a coroutine, or writes names of an outer scope")
    return found
