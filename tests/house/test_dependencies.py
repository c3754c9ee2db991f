"""What is imported where: floors, core dependencies alone, and optional packages inside the functions that need them."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import ROOT, pyproject, trees
from tests.house.test_public import names_of

PACKAGES = names_of(pyproject()["project"]["dependencies"])
CORE = {name.replace("-", "_") for name in PACKAGES}
EXTRAS = {
    name.replace("-", "_")
    for extra, requirements in pyproject()["project"]["optional-dependencies"].items()
    if extra not in ("test", "dev")
    for name in names_of(requirements)
}


EXTRA_OF = {"transformers": "hf"}
"""A folder of hyena/integrations -> the extra whose packages its files import: it is nothing without them."""
OTHERS_USE = {"accelerate": "the Trainer of transformers", "peft": "users' adapters, in the tests and documents"}
"""Requirements of an extra that are not imported here, and who imports them."""
NO_LINTER = "import-linter (the extra `dev`) is not installed: floors go unchecked"


def imports(node: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """(top-level package, whether a function imports it) for every import below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.partition(".")[0], inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield (child.module or "").partition(".")[0], inside
        yield from imports(child, inside or isinstance(child, ast.FunctionDef))


def extra_of(path: str) -> set[str]:
    """What a file may import anywhere in it, because its folder is for that."""
    parts = path.split("/")
    if parts[:2] != ["hyena", "integrations"] or len(parts) < 4:
        return set()
    return names_of(pyproject()["project"]["optional-dependencies"][EXTRA_OF[parts[2]]])


def test_files_import_core_dependencies_and_functions_may_import_extras():
    known = CORE | {"hyena"} | set(sys.stdlib_module_names)
    wrong = [
        (path, name)
        for path, tree in trees().items()
        for name, inside in imports(tree)
        if name not in known | extra_of(path) and not (inside and name in EXTRAS)
    ]
    assert not wrong
    assert extra_of("hyena/integrations/transformers/x.py") >= {"transformers", "tokenizers"}
    assert not extra_of("hyena/integrations/__init__.py") | extra_of("hyena/models/heads.py")
    assert set(imports(ast.parse("import a.b\ndef f():\n    from c import d"))) == {("a", False), ("c", True)}


def test_every_dependency_is_used():
    used = {name for tree in trees().values() for name, _ in imports(tree)}
    assert used >= (CORE | EXTRAS) - set(OTHERS_USE)
    assert not used & set(OTHERS_USE), "imported here after all: take it out of the list"


def test_the_floors_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    cli = pytest.importorskip("importlinter.cli", reason=NO_LINTER)
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_the_floors_would_be_seen_to_break(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cli = pytest.importorskip("importlinter.cli", reason=NO_LINTER)
    text = (ROOT / "pyproject.toml").read_text()
    upside_down = text.replace('"hyena.models",\n    "hyena.modules"', '"hyena.modules",\n    "hyena.models"')
    assert upside_down != text
    (tmp_path / "pyproject.toml").write_text(upside_down)
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(config_filename=str(tmp_path / "pyproject.toml"), no_cache=True) == 1
    assert "hyena.models is not allowed to import hyena.modules" in capsys.readouterr().out


def test_everything_works_with_the_core_dependencies_alone(tmp_path: Path):
    """A process in which no other package can be found; `core_only.py` says what it does there."""
    script = Path(__file__).with_name("core_only.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *sorted(PACKAGES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model", "run", "text.txt"}
