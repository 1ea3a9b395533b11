"""Values of options as text: which text stands for a value, and which value a text stands for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, cast

import torch

from fxpasses.errors import PipelineSyntaxError
from fxpasses.manager.text.grammar import Value, Word, quoted

_CONSTANTS: dict[str, object] = {"true": True, "false": False, "none": None, "inf": float("inf"), "nan": float("nan")}
_CONSTANTS.update({"True": True, "False": False, "None": None, "-inf": float("-inf")})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_KEY = re.compile(r"[\w.-]+")
_PLAIN_WORD = re.compile(r"[A-Za-z_][\w-]*")


def value_of(text: Value) -> object:
    """Returns what a value of a pipeline's text stands for.

    Raises:
        PipelineSyntaxError: A word that begins like an import path, and leads nowhere.

    Example:
        >>> value_of([Word("3"), Word("0.5"), Word("c4"), Word("torch.nn.ReLU")])
        [3, 0.5, 'c4', <class 'torch.nn.modules.activation.ReLU'>]
    """
    if isinstance(text, Word):
        return _value_of_word(text.text)
    if isinstance(text, list):
        return [value_of(item) for item in cast("list[Value]", text)]
    if isinstance(text, dict):
        return {key: value_of(item) for key, item in cast("dict[str, Value]", text).items()}
    return text


def _value_of_word(word: str) -> object:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _NUMBER.fullmatch(word):
        return int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)
    if word.startswith("<"):
        raise PipelineSyntaxError(f"{word} marks a value that no text stands for; build this pass in Python.")
    if "." in word and is_module(word.split(".")[0]):
        return imported(word)
    return word


def text_of(value: object) -> str:
    """Returns the text that stands for `value`, or one in `<>` that says that none does.

    Example:
        >>> text_of([3, 0.5, "c4", "layer1.0", torch.nn.Bilinear, {"a": None}])
        '[3, 0.5, c4, "layer1.0", torch.nn.modules.linear.Bilinear, {a=none}]'
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if type(value) in (int, float):
        return repr(value)
    if isinstance(value, str) and not isinstance(value, Enum):
        return text_of_word(value)
    if isinstance(value, Mapping):
        return "{" + entries_text(cast("Mapping[Any, object]", value)) + "}"
    if isinstance(value, (set, frozenset)):
        return "[" + ", ".join(sorted(map(text_of, cast("set[object]", value)))) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text_of, cast("list[object]", value))) + "]"
    path = import_path(value)
    return path if path is not None else unwritable(value)


def entries_text(entries: Mapping[Any, object]) -> str:
    """Returns the entries of a mapping as text, without the braces."""
    return ", ".join(f"{_text_of_key(str(key))}={text_of(value)}" for key, value in entries.items())


def _text_of_key(key: str) -> str:
    return key if _KEY.fullmatch(key) else quoted(key)


def text_of_word(word: str) -> str:
    """Returns `word` itself if it can only be read as itself, otherwise as a string literal.

    Example:
        >>> text_of_word("layer3"), text_of_word("true"), text_of_word("a.b")
        ('layer3', '"true"', '"a.b"')
    """
    return word if _PLAIN_WORD.fullmatch(word) and word not in _CONSTANTS else quoted(word)


def unwritable(value: object) -> str:
    """Returns the mark for a value that no text stands for."""
    name = getattr(value, "__name__", None) or type(value).__name__
    return f"<{re.sub(r'[^A-Za-z0-9_-]', '', name)}>"


def import_path(value: object) -> str | None:
    """Returns the path under which `value` can be imported, or None.

    Example:
        >>> import_path(Mapping), import_path(torch.float16), import_path(lambda: None)
        ('collections.abc.Mapping', 'torch.float16', None)
    """
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return str(value)
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, Enum):
        module, name = type(value).__module__, f"{type(value).__qualname__}.{value.name}"
    if not module or not name:
        return None
    path = f"{module}.{name}"
    try:
        return path if imported(path) is value else None
    except PipelineSyntaxError:
        return None


def is_module(name: str) -> bool:
    """Whether a module `name` could be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a module without a spec, such as one made by hand
        return False


def imported(path: str) -> Any:
    """Imports what a dotted path leads to: as many modules as there are, then attributes.

    Raises:
        PipelineSyntaxError: It leads nowhere.

    Example:
        >>> imported("torch.nn.ReLU")
        <class 'torch.nn.modules.activation.ReLU'>
    """
    parts = path.split(".")
    found, used = _longest_module(parts)
    for depth in range(used, len(parts)):
        if not hasattr(found, parts[depth]):
            raise PipelineSyntaxError(_nowhere(path, parts[:depth], parts[depth], found))
        found = getattr(found, parts[depth])
    return found


def _longest_module(parts: list[str]) -> tuple[Any, int]:
    module: types.ModuleType | None = None
    used = 0
    for depth, part in enumerate(parts, 1):
        # What a package calls by a name of its own hides a module of the same name in it.
        if module is not None and not isinstance(getattr(module, part, module), types.ModuleType):
            break
        name = ".".join(parts[:depth])
        if not is_module(name):
            break
        module, used = importlib.import_module(name), depth
    if module is None:
        raise PipelineSyntaxError(f"{'.'.join(parts)!r} leads nowhere: there is no module {parts[0]!r}.")
    return module, used


def _nowhere(path: str, there: list[str], missing: str, found: object) -> str:
    near = difflib.get_close_matches(missing, cast("Collection[str]", dir(found)))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{path!r} leads nowhere: {'.'.join(there)} has no {missing!r}.{hint} Quote it if it is a mere string."
