"""How pipelines, reports and errors call a pass."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, cast

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def kebab_case(class_name: str) -> str:
    """Spells a class name as the text of a pipeline does.

    Example:
        >>> kebab_case("NameNodes"), kebab_case("FoldBN2d"), kebab_case("DCE")
        ('name-nodes', 'fold-bn2d', 'dce')
    """
    return _WORD_START.sub("-", class_name).replace("_", "-").lower()


def pass_name(pass_: object) -> str:
    """Returns how to call a pass: its class in kebab case, or its function's name and, for a lambda, its place.

    Example:
        >>> pass_name(partial(pass_name)), pass_name(lambda graph_module: None)
        ('partial(pass_name)', 'lambda at <doctest fxpasses.manager.names.pass_name[0]>:1')
    """
    if isinstance(pass_, partial):
        return f"partial({pass_name(cast('partial[Any]', pass_).func)})"
    code = getattr(pass_, "__code__", None)
    name = getattr(pass_, "__name__", None)
    if name == "<lambda>" and code is not None:
        return f"lambda at {code.co_filename}:{code.co_firstlineno}"
    return name if isinstance(name, str) else kebab_case(type(pass_).__name__)
