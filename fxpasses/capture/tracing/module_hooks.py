"""Sees the calls, tensors and assignments of modules while a model is traced, at little cost.

`torch.fx` puts a `__call__` and a `__getattr__` of its own on `nn.Module` for the time of a trace. At each assignment of
a special method Python goes through all subclasses, which takes a third of a millisecond once timm is imported: with a
`__setattr__`, six times that, more than the whole rest of a small model's trace. What `nn.Module` does under names that
are not special can be replaced for nothing, and a special method of the model's own classes, which have few subclasses,
for little.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any, cast

from torch import nn
from torch.fx import _symbolic_trace as torch_trace

Assign = Callable[[nn.Module, str, Any], None]

# What `nn.Module` has; taken before any trace can have put something else in its place.
_CALL, _CALL_IMPL, _GETATTR = nn.Module.__call__, nn.Module._call_impl, nn.Module.__getattr__


@contextmanager
def hooked_modules(model: nn.Module | None, make_assign: Callable[[Assign], Assign]) -> Generator[None]:
    """Lets the trace that begins in the block, and no other one, see what modules do.

    Of a trace that this one runs inside of, nothing is in place meanwhile.

    Args:
        model: The model to be traced; None for a function, which may call any module.
        make_assign: Makes the function that attributes of the model's modules are assigned by from the usual one.
    """
    usual_patcher = torch_trace._new_patcher

    @contextmanager
    def new_patcher() -> Generator[torch_trace._Patcher]:
        torch_trace._new_patcher = usual_patcher
        outer = torch_trace.CURRENT_PATCHER
        patcher = _Patcher(model)
        with patcher:
            patcher.replace_assignment(make_assign)
            torch_trace.CURRENT_PATCHER = patcher
            try:
                yield patcher
            finally:
                torch_trace.CURRENT_PATCHER = outer

    with torch_trace._maybe_revert_all_patches():
        torch_trace._new_patcher = new_patcher
        try:
            yield
        finally:
            torch_trace._new_patcher = usual_patcher


class _Patch(torch_trace._PatchedFn):
    """An attribute of a class that is there for a while; `orig_fn` is None if it has none of its own."""

    def patch(self) -> None:
        setattr(self.frame_dict, self.fn_name, self.new_fn)

    def revert(self) -> None:
        if self.orig_fn is None:
            delattr(self.frame_dict, self.fn_name)
        else:
            setattr(self.frame_dict, self.fn_name, self.orig_fn)


class _Patcher(torch_trace._Patcher):
    """Torch's patcher: told to replace a special method of `nn.Module`, it replaces what costs less where that will do."""

    def __init__(self, model: nn.Module | None) -> None:
        super().__init__()
        self._model = model
        modules = [] if model is None else list(model.modules())
        self._kinds: set[type[nn.Module]] = {type(module) for module in modules} or {nn.Module}
        self._is_usual = model is not None and _are_usual(self._kinds, modules)

    def patch_method(self, cls: type, name: str, new_fn: Callable[..., Any], deduplicate: bool = True) -> None:
        """Replaces a method of a class."""
        if cls is not nn.Module or not self._is_usual or self._model is None:
            super().patch_method(cls, name, new_fn, deduplicate)
        elif name == "__call__":
            # Torch's wrapper calls the module by this global, and would come back to itself.
            usual = torch_trace._orig_module_call
            self._add(torch_trace._PatchedFnSetItem(vars(torch_trace), "_orig_module_call", usual, _CALL_IMPL))
            self._add(_Patch(nn.Module, "_call_impl", _CALL_IMPL, new_fn))
        elif name == "__getattr__":
            for tensor in _tensor_names(self._model):
                self._add(_Patch(nn.Module, tensor, None, cast("Any", _Tensor(tensor, new_fn))))
        else:
            super().patch_method(cls, name, new_fn, deduplicate)

    def replace_assignment(self, make_assign: Callable[[Assign], Assign]) -> None:
        """Replaces the way in which attributes of the model's modules are assigned."""
        usual = cast("Assign", nn.Module.__setattr__)
        assign = make_assign(usual)
        if nn.Module in self._kinds or any(kind.__setattr__ is not usual for kind in self._kinds):
            self._add(_Patch(nn.Module, "__setattr__", usual, assign))
            return
        for kind in self._kinds:
            self._add(_Patch(kind, "__setattr__", None, assign))

    def _add(self, patch: torch_trace._PatchedFn) -> None:
        patch.patch()
        self.patches_made.append(patch)


class _Tensor:
    """Stands for the name of a tensor on `nn.Module`: what a module has under that name is read by a function.

    An attribute in the module's own dict comes first, as it does without this.
    """

    def __init__(self, name: str, read: Callable[[nn.Module, str], Any]) -> None:
        self._name, self._read = name, read

    def __get__(self, module: nn.Module | None, owner: type[nn.Module]) -> Any:
        if module is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute {self._name!r}")
        return self._read(module, self._name)


def _tensor_names(model: nn.Module) -> list[str]:
    names = {name for module in model.modules() for name in (*module._parameters, *module._buffers)}
    return sorted(name for name in names if not hasattr(nn.Module, name))


def _are_usual(kinds: Collection[type[nn.Module]], modules: Collection[nn.Module]) -> bool:
    """Whether all modules are called, and their tensors found, in the way of `nn.Module`."""
    if nn.Module.__call__ is not _CALL or any(module._compiled_call_impl is not None for module in modules):
        return False
    return all(kind._call_impl is _CALL_IMPL and kind.__getattr__ is _GETATTR for kind in (nn.Module, *kinds))
