"""`ModeFlags`: sets the mode of all modules below one, in microseconds."""

from __future__ import annotations

from typing import Any

from torch import nn

_LISTS = (nn.ModuleList, nn.Sequential)


def has_own_train(module: nn.Module) -> bool:
    """Whether a module does more, or something else, when its mode is set than to set its flag and its children's."""
    own = module.__dict__
    return type(module).train is not nn.Module.train or "train" in own or "training" not in own


class ModeFlags:
    """The `training` flags below a module, found once for as long as no module is added, removed or replaced.

    `nn.Module.train` calls itself for each module. Most of what that takes goes into finding them, so they are
    remembered, and so is where they were found: whether all is as it was shows in a fraction of the time.

    Args:
        root: The module; its own flag is not among them.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Dropout()))
        >>> flags = ModeFlags(model)
        >>> flags.set(False)
        >>> model.training, model[0].training, model[0][0].training
        (True, False, False)
        >>> _ = model[0].append(nn.Dropout())
        >>> flags.still_hold()
        False
    """

    def __init__(self, root: nn.Module) -> None:
        self._flags: list[dict[str, Any]] = []
        self._others: list[nn.Module] = []
        self._childless: list[dict[str, nn.Module | None]] = []
        self._children = [root._modules]
        # Lists of modules and the like make a new dict of children when some are deleted, even if there were none.
        self._rebuilding: list[tuple[nn.Module, dict[str, nn.Module | None]]] = [(root, root._modules)]
        self._find(root)
        self._copies = [children.copy() for children in self._children]

    def _find(self, root: nn.Module) -> None:
        seen = {root}
        waiting = list(root._modules.values())
        for module in waiting:  # grows on the way
            if module is None or module in seen:
                continue
            seen.add(module)
            if has_own_train(module):
                self._others.append(module)
                continue
            self._flags.append(module.__dict__)
            children = module._modules
            if children:
                self._children.append(children)
                waiting.extend(children.values())
            else:
                self._childless.append(children)
            if isinstance(module, _LISTS) or (children and type(module) is not nn.Module):
                self._rebuilding.append((module, children))

    def still_hold(self) -> bool:
        """Whether the modules are the same as before, in the same places."""
        if any(self._childless) or self._children != self._copies:
            return False
        for module, children in self._rebuilding:  # noqa: SIM110 - a generator takes a third of the whole test
            if module._modules is not children:
                return False
        return True

    def set(self, mode: bool) -> None:
        """Sets every flag; a module whose class has a `train` of its own, or keeps its flag elsewhere, gets the call."""
        for attributes in self._flags:
            attributes["training"] = mode
        for module in self._others:
            module.train(mode)
