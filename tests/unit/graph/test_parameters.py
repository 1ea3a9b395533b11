"""What torch's own functions take besides what their schemas name."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from fxpasses.graph.lazy_graph_module import LazyGraphModule
from fxpasses.graph.parameters import (
    Parameters,
    parameters_of_forward,
    parameters_of_function,
    parameters_of_method,
)

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


def test_a_method_that_is_written_in_python_takes_what_it_says() -> None:
    taken = parameters_of_method("register_hook")
    assert taken is not None
    assert taken.required == ("self", "hook")
    assert taken.most_positional == 2


def test_what_a_class_method_of_tensors_takes_nobody_can_tell() -> None:
    assert parameters_of_method("__torch_function__") is None


def _plain(x: Any, y: Any = 1, z: Any = 2) -> Any: ...
def _needs_a_keyword(x: Any, *, key: Any) -> Any: ...
def _only_by_position(x: Any, /, y: Any = 1) -> Any: ...
def _any_number(x: Any, *rest: Any, flag: bool = False) -> Any: ...
def _anything(x: Any, *rest: Any, **options: Any) -> Any: ...


@functools.wraps(_plain)
def _wrapper(*args: Any, key: Any) -> Any: ...


_FUNCTIONS = [_plain, _needs_a_keyword, _only_by_position, _any_number, _anything, _wrapper]


def _is_right(function: Callable[..., Any], positional: int, keywords: tuple[str, ...]) -> bool:
    taken = parameters_of_function(function)
    assert taken is not None
    if taken.most_positional is not None and positional > taken.most_positional:
        return False
    return taken.has_required(positional, keywords) and (taken.keywords is None or taken.keywords.issuperset(keywords))


@pytest.mark.parametrize("function", _FUNCTIONS)
def test_no_call_that_python_takes_is_wrong(function: Callable[..., Any]) -> None:
    signature = inspect.signature(function, follow_wrapped=False)
    keywords = ["x", "y", "z", "key", "flag", "rest", "options", "args"]
    taken: list[tuple[int, tuple[str, ...]]] = []
    for call in itertools.product(range(5), [(), *((each,) for each in keywords), ("x", "key")]):
        with contextlib.suppress(TypeError):
            signature.bind(*range(call[0]), **dict.fromkeys(call[1]))
            taken.append(call)
    assert taken
    assert [call for call in taken if not _is_right(function, *call)] == []


@pytest.mark.parametrize(
    ("function", "positional", "keywords"),
    [
        (_plain, 0, ()),
        (_plain, 0, ("y",)),
        (_plain, 4, ()),
        (_plain, 1, ("key",)),
        (_needs_a_keyword, 1, ()),
        (_needs_a_keyword, 2, ("key",)),
        (_only_by_position, 0, ("x",)),
        (_any_number, 0, ("flag",)),
        (_any_number, 1, ("rest",)),
        (_wrapper, 0, ()),
        (_wrapper, 1, ("x",)),
    ],
)
def test_what_python_does_not_take_is_wrong(
    function: Callable[..., Any], positional: int, keywords: tuple[str, ...]
) -> None:
    with pytest.raises(TypeError):
        inspect.signature(function, follow_wrapped=False).bind(*range(positional), **dict.fromkeys(keywords))
    assert not _is_right(function, positional, keywords)


def test_an_overload_takes_by_position_what_it_does_not_take_by_keyword_alone() -> None:
    taken = parameters_of_function(torch.ops.aten.add.Tensor)
    assert taken == Parameters(("self", "other"), 2, frozenset({"self", "other", "alpha"}), 2)


class _Takes(nn.Module):
    def forward(self, x: Any, y: Any = None) -> Any: ...


class _TakesAnyNumber(nn.Module):
    def forward(self, *args: Any) -> Any: ...


class _TakesNothing(nn.Module):
    def forward(self) -> Any: ...


@pytest.mark.parametrize(
    ("module", "required", "most"),
    [(_Takes(), ("x",), 2), (_TakesAnyNumber(), (), None), (_TakesNothing(), (), 0)],
)
def test_what_a_module_takes_does_not_count_the_module(
    module: nn.Module, required: tuple[str, ...], most: int | None
) -> None:
    taken = parameters_of_forward(module)
    assert taken is not None
    assert (taken.required, taken.fewest, taken.most_positional) == (required, len(required), most)


class _Static(nn.Module):
    @staticmethod
    def forward(x: Any) -> Any: ...


class _OfTheClass(nn.Module):
    @classmethod
    def forward(cls, x: Any) -> Any: ...


class _Builtin(nn.Module):
    forward = torch.relu


class _IsCalledInItsOwnWay(_Takes):
    def __call__(self, *args: Any) -> Any:
        return super().__call__(args)


def _with_its_own_forward() -> nn.Module:
    module = _Takes()
    module.forward = lambda *args: args
    return module


def _compiled() -> nn.Module:
    graph_module = LazyGraphModule(nn.Module(), fx.symbolic_trace(nn.ReLU()).graph)
    graph_module.compile_now()
    return graph_module


def _with_a_hook() -> nn.Module:
    module = _Takes()
    module.register_forward_pre_hook(lambda module, args: args[:1])
    return module


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        _Static,
        _OfTheClass,
        _Builtin,
        _IsCalledInItsOwnWay,
        _with_its_own_forward,
        _with_a_hook,
        lambda: fx.symbolic_trace(nn.ReLU()),
        lambda: LazyGraphModule(nn.Module(), fx.symbolic_trace(nn.ReLU()).graph),
        _compiled,
        lambda: torch.jit.script(nn.ReLU()),
        lambda: torch.jit.trace(nn.ReLU(), torch.ones(1)),
    ],
)
def test_what_a_module_takes_nobody_can_tell_where_its_class_does_not_say_it(make: Callable[[], nn.Module]) -> None:
    assert parameters_of_forward(make()) is None


def test_nobody_can_tell_what_an_operator_takes_that_takes_any_number_of_arguments() -> None:
    assert parameters_of_function(torch.ops.aten.format) is None
