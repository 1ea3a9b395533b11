"""What torch's own functions take besides what their schemas name."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fxpasses.graph.parameters import Parameters, parameters_of_function, parameters_of_method

_CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (torch.relu, (), {"input": torch.ones(2)}),
    (torch.sum, (), {"a": torch.ones(2), "axis": 0, "keepdims": True}),
    (torch.sum, (), {"x": torch.ones(2), "dim": 0}),
    (torch.add, (), {"x1": torch.ones(2), "x2": torch.ones(2)}),
    (torch.exp, (torch.ones(2),), {"out": torch.ones(2)}),
    (torch.nonzero, (torch.ones(2),), {"as_tuple": False}),
    (torch.rand, (2,), {"generator": torch.Generator(), "requires_grad": True}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), _CALLS)
def test_what_torch_takes_by_keyword_is_in_the_parameters(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert isinstance(function(*args, **kwargs), Tensor)
    taken = parameters_of_function(function)
    assert taken is None or taken.keywords is None or kwargs.keys() <= taken.keywords


def _stubs(file: str, of_class: str = "") -> dict[str, set[str]]:
    """What torch's stubs say that functions, or the methods of a class, take by keyword."""
    tree = ast.parse((Path(torch.__file__).parent / "_C" / file).read_text(encoding="utf-8"))
    classes = (each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == of_class)
    found: dict[str, set[str]] = {}
    for each in next(classes).body if of_class else tree.body:
        if isinstance(each, ast.FunctionDef):
            taken = [*each.args.args, *each.args.kwonlyargs]
            found.setdefault(each.name, set()).update({argument.arg for argument in taken} - {"self"})
    return found


def _not_taken(named: set[str], taken: Parameters | None) -> set[str]:
    if taken is None or taken.keywords is None or taken.most_positional is not None:
        return set()  # Python's own signature, where there is one, is right
    return {name for name in named if not taken.keywords & {name, name.removesuffix("_")}}  # `from_` stands for `from`


def test_what_the_stubs_of_functions_name_is_in_the_parameters() -> None:
    stubs = {name: named for name, named in _stubs("_VariableFunctions.pyi").items() if hasattr(torch, name)}
    missing = {name: _not_taken(named, parameters_of_function(getattr(torch, name))) for name, named in stubs.items()}
    assert len(missing) > 500
    assert {name: names for name, names in missing.items() if names} == {}


def test_what_the_stubs_of_methods_name_is_in_the_parameters() -> None:
    stubs = _stubs("__init__.pyi", "TensorBase")
    methods = {name: named for name, named in stubs.items() if callable(getattr(Tensor, name, None))}
    missing = {name: _not_taken(named, parameters_of_method(name)) for name, named in methods.items()}
    assert len(missing) > 400
    # The stub calls it `mode`; the method itself does not.
    assert {name: names for name, names in missing.items() if names} == {"requires_grad_": {"mode"}}


def test_an_operator_with_all_of_its_overloads_takes_what_any_of_them_takes() -> None:
    taken = parameters_of_function(torch.ops.aten.sum)
    assert taken is not None
    assert taken.fewest == 1
    assert {"dim", "keepdim", "dtype", "out"} <= (taken.keywords or frozenset())
