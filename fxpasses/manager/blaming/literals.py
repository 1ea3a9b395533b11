"""Values as Python expressions, for scripts that are written."""

from __future__ import annotations

import base64
import io
import math
import types
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.node import _get_qualified_name

_BY_REPR = (str, int, bool, type(None), torch.dtype, torch.memory_format, torch.layout, torch.Size)


class Expressions:
    """Spells values as expressions of a script, and collects the modules that the script has to import.

    Example:
        >>> expressions = Expressions()
        >>> expressions.of({"a": (1, torch.float32, slice(0, None))}), expressions.of_function(torch.relu)
        ("{'a': (1, torch.float32, slice(0, None, None))}", 'torch.relu')
    """

    def __init__(self) -> None:
        self.imports = {"torch"}

    def of(self, value: object) -> str:
        """Returns an expression for an argument of a node, or for anything that can be pickled."""
        if isinstance(value, fx.Node):
            return f"v[{value.name!r}]"
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if isinstance(value, _BY_REPR):
            return repr(value)
        if isinstance(value, torch.device):
            return f"torch.{value!r}"
        if isinstance(value, slice):
            return f"slice({self.of(value.start)}, {self.of(value.stop)}, {self.of(value.step)})"
        if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
            items = ", ".join(map(self.of, cast("list[object]", value)))
            if isinstance(value, list):
                return f"[{items}]"
            return f"({items},)" if len(cast("tuple[object, ...]", value)) == 1 else f"({items})"
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value).items()
            return "{" + ", ".join(f"{self.of(key)}: {self.of(item)}" for key, item in entries) + "}"
        if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type, torch._ops.OpOverload)):
            return self.of_function(value)
        return self.pickled(value)

    def of_function(self, function: Any) -> str:
        """Returns the path of a function or a class."""
        path = _get_qualified_name(function)
        holder = path.rpartition(".")[0]
        if holder:  # what has none is built in
            self.imports.add("torch" if path.startswith("torch.") else holder)
        return path

    def of_module(self, module: nn.Module) -> str:
        """Returns the constructor's call if the module prints as one that makes it again, or a pickle."""
        text = f"nn.{module!r}"
        try:
            made = eval(text, {"nn": nn})
        except Exception:  # whatever a module's repr makes Python say: it is no expression
            return self.pickled(module)
        is_alike = type(made) is type(module) and _shapes(made) == _shapes(module)
        return text if is_alike else self.pickled(module)

    def pickled(self, value: object) -> str:
        """Returns an expression that unpickles `value`."""
        self.imports.update(("base64", "io"))
        data = io.BytesIO()
        torch.save(value, data)
        text = base64.b64encode(data.getvalue()).decode()
        return f"torch.load(io.BytesIO(base64.b64decode({text!r})), weights_only=False)"


def _shapes(module: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}
