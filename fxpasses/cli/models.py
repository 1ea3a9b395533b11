"""Models, weights and leaf classes by the names that the shell is given."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Generator, Iterable
from typing import Any

import torch
from torch import nn

from fxpasses.cli.output import optional
from fxpasses.errors import RequestError


def find_model(name: str, weights: str | None = None, *, compute: bool = True) -> nn.Module:
    """Returns the model called `name`.

    Args:
        name: A name of torchvision, or `package.module:name` of a module, its class or a function that makes it.
        weights: A name of torchvision's weights, or a file that ends in `.safetensors`; None for the model as it is made.
        compute: Whether it is to be run; without that, a model of torchvision has no memory for weights.

    Raises:
        RequestError: There is no such model, or there are no such weights for it.

    Example:
        >>> type(find_model("alexnet", compute=False)).__name__, type(find_model("torch.nn:ReLU")).__name__
        ('AlexNet', 'ReLU')
    """
    from_file = weights is not None and weights.endswith(".safetensors")
    if ":" in name:
        model = _from_python(*name.split(":", 1))
        if weights is not None and not from_file:
            raise RequestError(f"--weights {weights}: {name} takes a .safetensors file. Pickles are not loaded.")
    else:
        model = _from_torchvision(name, None if from_file else weights, compute)
    if weights is not None and from_file:
        _load_weights(model, weights)
    return model


def torchvision_weights(model: str, weights: str) -> Any:
    """Returns the weights of that name among those that torchvision has for a model."""
    import torchvision.models

    known = torchvision.models.get_model_weights(model)
    if weights in known.__members__:
        return known[weights]
    members = ", ".join(known.__members__) or "none"
    raise RequestError(f"--weights {weights}: {model} has {members}; a .safetensors file will do as well.")


def find_leaf_modules(model: nn.Module, names: Iterable[str]) -> tuple[type[nn.Module], ...]:
    """Finds classes by their names, bare or with the Python module, among those of the model's modules.

    Raises:
        RequestError: No module of the model is of that class.

    Example:
        >>> find_leaf_modules(nn.Sequential(nn.ReLU()), ["ReLU"])
        (<class 'torch.nn.modules.activation.ReLU'>,)
    """
    known: dict[str, set[type[nn.Module]]] = {}
    for kind in {kind for module in model.modules() for kind in type(module).__mro__ if issubclass(kind, nn.Module)}:
        known.setdefault(kind.__name__, set()).add(kind)
        known.setdefault(f"{kind.__module__}.{kind.__qualname__}", set()).add(kind)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known) or sorted({type(each).__name__ for each in model.modules()})
            raise RequestError(f"--leaf {name}: no module is of that class. Near names: {', '.join(near)}.")
    return tuple(kind for name in names for kind in known[name])


def _from_torchvision(name: str, weights: str | None, compute: bool) -> nn.Module:
    import torchvision.models

    known = torchvision.models.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
        raise RequestError(
            f"torchvision has no model {name!r}."
            + (f" Near names: {', '.join(near)}." if near else "")
            + " A model of your own is package.module:name, the name of a module, its class or a function that makes it."
        )
    options: dict[str, Any] = {"weights": torchvision_weights(name, weights) if weights else None}
    if "weights_backbone" in inspect.signature(torchvision.models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None
    place = contextlib.nullcontext() if compute else torch.device("meta")
    with place, _no_code_in_checkpoints(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that random weights will be drawn otherwise some day
        return torchvision.models.get_model(name, **options)


@contextlib.contextmanager
def _no_code_in_checkpoints() -> Generator[None]:
    """Has torch read nothing but tensors from torchvision's checkpoints, which are pickles."""
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def _from_python(module_name: str, path: str) -> nn.Module:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end, so that a file here never hides an installed package
    found: Any = _import(module_name)
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            near = difflib.get_close_matches(attribute, dir(found), n=5)
            hint = f" Near names: {', '.join(near)}." if near else ""
            raise RequestError(f"{module_name}:{path}: {module_name} has no {attribute!r}.{hint}")
        found = getattr(found, attribute)
    model = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(model, nn.Module):
        raise RequestError(f"{module_name}:{path} neither is an nn.Module nor makes one: it is {model!r}.")
    return model


def _import(module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        raise RequestError(f"There is no Python module {error.name!r}, neither here nor installed.") from error


def _load_weights(model: nn.Module, file: str) -> None:
    safetensors = optional("safetensors.torch", "--weights")
    try:
        model.load_state_dict(safetensors.load_file(file))
    except (RuntimeError, optional("safetensors", "--weights").SafetensorError) as error:
        raise RequestError(f"--weights {file}: {error}") from error
