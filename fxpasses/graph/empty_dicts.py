"""`empty_dicts_copied`: what makes a deep copy of a module take half the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn


def empty_dicts_copied(module: nn.Module) -> dict[int, Any]:
    """Starts the memo of a deep copy: a module has a dozen empty dicts of hooks, and copying them is most of the work.

    Example:
        >>> import copy
        >>> layer = nn.Linear(2, 2)
        >>> copied = copy.deepcopy(layer, empty_dicts_copied(layer))
        >>> copied._forward_hooks == layer._forward_hooks, copied._forward_hooks is layer._forward_hooks
        (True, False)
    """
    dicts = (value for each in module.modules() for value in vars(each).values() if type(value) in (dict, OrderedDict))
    return {id(empty): type(empty)() for empty in dicts if not empty}
