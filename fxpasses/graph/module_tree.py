"""`ModuleTree`: the modules below one, in one quick walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn


class ModuleTree(NamedTuple):
    """Each module below a root, the root included, in the order of `named_modules`.

    `nn.Module.named_modules` goes through one generator for each level of nesting, which this walk does not.

    Attributes:
        paths: The first path of each module.
        aliases: Each further path of a module that has several, mapped to its first one.

    Example:
        >>> shared = nn.ReLU()
        >>> tree = ModuleTree.of(nn.Sequential(shared, nn.Sequential(shared)))
        >>> list(tree.paths.values()), tree.aliases
        (['', '0', '1'], {'1.0': '0'})
    """

    paths: dict[nn.Module, str]
    aliases: dict[str, str]

    @classmethod
    def of(cls, root: nn.Module) -> ModuleTree:
        """Walks through all modules below `root`."""
        paths: dict[nn.Module, str] = {}
        aliases: dict[str, str] = {}
        waiting = [("", root)]
        while waiting:
            path, module = waiting.pop()
            first = paths.setdefault(module, path)
            if first is not path:
                aliases[path] = first
                if not first or path.startswith(f"{first}."):
                    continue  # it contains itself
            children = module._modules
            if children:
                prefix = f"{path}." if path else ""
                below = [(prefix + name, child) for name, child in children.items() if child is not None]
                waiting.extend(reversed(below))
        return cls(paths, aliases)

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields each parameter under each of its paths in modules."""
        for module, path in self.paths.items():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield (f"{path}.{name}" if path else name), parameter

    def buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields each buffer under each of its paths in modules."""
        for module, path in self.paths.items():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield (f"{path}.{name}" if path else name), buffer
