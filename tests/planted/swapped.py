"""Puts a change into functions that exist: whoever has imported or wrapped them then calls the changed code."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

Key = tuple[str, str, int]


class Functions:
    """The functions of fxpasses that exist in this process, by where they were written."""

    def __init__(self, folder: Path) -> None:
        self._found: dict[Key, list[FunctionType]] = {}
        gc.unfreeze()  # the collector does not tell of what is frozen
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename.startswith(str(folder)):
                self._found.setdefault(_key(each.__code__), []).append(each)
        gc.freeze()

    def swap(self, changed: CodeType) -> bool:
        """Gives the functions of a module their code in a changed copy of it.

        Returns:
            Whether that can be done: a function that ran while its module was imported may be gone, for example.
        """
        before = _by_key(_as_it_is(changed.co_filename))
        after = {key: codes for key, codes in _by_key(changed).items() if codes != before.get(key)}
        if any(len(codes) > 1 for codes in after.values()):
            return False  # two functions on one line: which is which?
        try:
            swapped = [self._give(key, codes[0]) for key, codes in after.items()]
        except ValueError:  # other variables of the function around it
            return False
        return any(swapped)

    def _give(self, key: Key, code: CodeType) -> bool:
        functions = self._found.get(key, [])
        for function in functions:
            function.__code__ = code
        return bool(functions)


@functools.cache
def _as_it_is(file: str) -> CodeType:
    return compile(Path(file).read_text(encoding="utf-8"), file, "exec", dont_inherit=True)


def _by_key(module: CodeType) -> dict[Key, list[CodeType]]:
    found: dict[Key, list[CodeType]] = {}
    for code in _nested(module):
        found.setdefault(_key(code), []).append(code)
    return found


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _key(code: CodeType) -> Key:
    return code.co_filename, getattr(code, "co_qualname", code.co_name), code.co_firstlineno
