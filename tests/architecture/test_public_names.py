"""What a package offers is what it says that it offers."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import fxpasses
from fxpasses import errors

_PACKAGES = ["fxpasses", "fxpasses.capture", "fxpasses.feature_extraction", "fxpasses.manager", "fxpasses.testing"]


def _public(module: ModuleType) -> set[str]:
    submodules = {info.name for info in pkgutil.iter_modules(module.__path__)}
    submodules |= {name for name in dir(module) if isinstance(getattr(module, name), ModuleType)}
    return {name for name in dir(module) if not name.startswith("_")} - submodules - {"annotations", "TYPE_CHECKING"}


@pytest.mark.parametrize("package", _PACKAGES)
def test_all_equals_the_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert len(module.__all__) == len(set(module.__all__))  # that they are sorted is for ruff to see
    imported_for_own_use = {"Any", "import_module"}
    assert _public(module) - imported_for_own_use == set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_facade_gives_the_very_objects() -> None:
    from fxpasses.feature_extraction import create_feature_extractor
    from fxpasses.manager import PassManager

    assert fxpasses.create_feature_extractor is create_feature_extractor
    assert fxpasses.PassManager is PassManager


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'create_feature_extractors'"):
        fxpasses.create_feature_extractors  # noqa: B018


def test_the_tree_of_errors_is_drawn_in_full() -> None:
    drawn = errors.__doc__ or ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    public = [kind for kind in kinds if not kind.__name__.startswith("_")]
    assert len(public) > 10
    for kind in public:
        (line,) = [line for line in drawn.splitlines() if line.strip(" │├└─").partition(" ")[0] == kind.__name__]
        built_in = line.partition("(")[2].partition(")")[0]
        if built_in:
            assert any(base.__name__ == built_in for base in kind.__mro__), line


def test_every_error_says_what_it_is_for() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert kind.__doc__, name
