"""The front door: what `import hyena` offers, and that its lists agree with one another."""

import ast
import importlib
import inspect
import re
from types import ModuleType

import pytest

import hyena
from hyena.cli.info import gather
from tests.helpers import python
from tests.house.sources import PACKAGE, pyproject, trees

ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("name", hyena.__all__)
def test_a_public_name_resolves_and_explains_itself(name: str):
    value = getattr(hyena, name)
    assert value is getattr(hyena, name)
    if not isinstance(value, str):
        assert inspect.getdoc(value)
        own = value.__doc__ if isinstance(value, ModuleType) else vars(value).get("__doc__", value.__doc__)
        assert own, "the docstring must be its own"


def test_the_type_checker_sees_what_users_see():
    (block,) = (node for node in trees()["hyena/__init__.py"].body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "`import x as x` is what re-exports"
            seen[alias.name] = f"{node.module}.{alias.name}"
    assert set(seen) == set(hyena.__all__) - {"__version__"}
    for name, home in seen.items():
        room, _, attribute = home.rpartition(".")
        assert getattr(importlib.import_module(room), attribute) is getattr(hyena, name)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'hyena' has no attribute 'genrate'"):
        _ = hyena.genrate
    assert set(hyena.__all__) <= set(dir(hyena))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_what_it_lists(room: str):
    module = importlib.import_module(f"hyena.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert getattr(module, name).__doc__ or isinstance(getattr(module, name), tuple), name
    assert getattr(module, "__all__", []) == sorted(getattr(module, "__all__", []))


def test_the_version_is_written_once_more_and_the_same():
    assert hyena.__version__ == pyproject()["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", hyena.__version__)


def test_importing_hyena_imports_nothing_heavy():
    script = "import sys, hyena; print(sorted({'torch', 'numpy', 'tyro', 'rich', 'einops', 'safetensors'} & set(sys.modules)))"
    assert python(script) == "[]"


def names_of(requirements: list[str]) -> set[str]:
    """Requirements without their versions."""
    return {re.split(r"[<>=!~\[; ]", requirement)[0] for requirement in requirements}


def test_info_lists_the_dependencies_of_pyproject():
    facts, project = gather(), pyproject()["project"]
    assert set(facts["versions"]) - {"hyena", "python"} == names_of(project["dependencies"])
    assert set(facts["extras"]) == set(project["optional-dependencies"]) - {"test", "dev"}


def test_the_command_is_the_one_that_is_installed():
    assert pyproject()["project"]["scripts"] == {"hyena": "hyena.cli:main"}
    assert (PACKAGE / "py.typed").exists()
