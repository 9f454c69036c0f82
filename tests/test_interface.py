"""What public code says about itself, beyond what ruff and mypy see."""

import doctest
import importlib
import inspect
from functools import cached_property

import pytest

from kdrecon.storage.places import PACKAGES

MODULES = sorted(
    ".".join(path.relative_to(PACKAGES).with_suffix("").parts).removesuffix(".__init__")
    for package in ("kdrecon", "data_prep")
    for path in (PACKAGES / package).rglob("*.py")
)


def methods(module: str) -> list[tuple[type, str]]:
    """The public methods and properties that classes of a module define."""
    classes = [c for c in vars(importlib.import_module(module)).values() if inspect.isclass(c)]
    kinds = (property, cached_property, classmethod, staticmethod)
    return [
        (c, name)
        for c in classes
        if c.__module__ == module and not c.__name__.startswith("_")
        for name, member in vars(c).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    ]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_a_modules_docstring_has_examples_and_they_hold(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    module = importlib.import_module(name)
    assert ">>>" in module.__doc__ or hasattr(module, "__path__"), f"{name}: expected an example in its docstring"
    assert not doctest.testmod(module).failed


@pytest.mark.parametrize("module", MODULES)
def test_a_public_method_has_a_docstring_or_that_of_the_one_it_overrides(module):
    for owner, name in methods(module):
        own = [base for base in owner.__mro__ if base.__module__.split(".")[0] in ("kdrecon", "data_prep")]
        assert any(getattr(vars(base).get(name), "__doc__", None) for base in own), f"{owner.__name__}.{name}"
