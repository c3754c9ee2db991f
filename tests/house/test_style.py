"""The rules of CONTRIBUTING.md that a machine can check in the source; each check is shown to see what it forbids."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.sources import PACKAGE, Function, fields_of, is_dataclass, trees

LINES_A_FILE, LINES_A_FUNCTION = 320, 60


def undocumented(tree: ast.AST, where: str) -> Iterator[str]:
    """The module, public classes, functions and methods without a docstring; what is inside a function is its own affair."""
    if isinstance(tree, ast.Module | ast.ClassDef | Function) and not ast.get_docstring(tree):
        yield where
    for node in getattr(tree, "body", []) if isinstance(tree, ast.Module | ast.ClassDef) else []:
        if isinstance(node, ast.ClassDef | Function) and (not node.name.startswith("_") or node.name == "__init__"):
            yield from undocumented(node, f"{where}: {node.name}")


def test_everything_public_has_a_docstring():
    assert not [name for path, tree in trees().items() for name in undocumented(tree, path)]
    bad = "class A:\n    def b(self): ...\n    def _c(self): ...\ndef d():\n    '''Doc.'''\n    def e(): ..."
    assert list(undocumented(ast.parse(bad), "x")) == ["x", "x: A", "x: A: b"]


def test_no_file_is_too_long():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert len(lengths) > 40
    assert {name: count for name, count in lengths.items() if count > LINES_A_FILE} == {}


def test_no_function_is_too_long():
    lengths = {
        f"{path}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }
    assert len(lengths) > 200
    assert {name: count for name, count in lengths.items() if count > LINES_A_FUNCTION} == {}


def swallowing(tree: ast.AST) -> list[str]:
    """Classes whose constructor takes options that it does not name."""
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, Function) and method.name in ("__init__", "__new__") and method.args.kwarg
    ]


def test_no_constructor_swallows_options():
    assert {path: names for path, tree in trees().items() if (names := swallowing(tree))} == {}
    assert swallowing(ast.parse("class A:\n    def __init__(self, **options): ...")) == ["A"]


def defaulted_getattr(tree: ast.AST) -> list[int]:
    """Lines with getattr(x, name, default)."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [call.lineno for call in calls if call.func.id == "getattr" and len(call.args) > 2]


def test_no_option_is_read_with_a_silent_default():
    assert {path: lines for path, tree in trees().items() if (lines := defaulted_getattr(tree))} == {}
    assert defaulted_getattr(ast.parse("a = 1\ngetattr(config, 'x', 2)\ngetattr(config, 'x')")) == [2]


def attributes_read(node: ast.AST) -> set[str]:
    """The names of all attributes that are read below a node."""
    return {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}


def read_outside(path: str, name: str) -> set[str]:
    """The names of all attributes that the package reads, outside of one class."""
    names: set[str] = set()
    for file, tree in trees().items():
        for node in tree.body:
            if (file, getattr(node, "name", None)) != (path, name):
                names |= attributes_read(node)
    return names


def unread(path: str, node: ast.ClassDef) -> list[str]:
    """The fields of a class that nobody reads by name. Its own methods count where somebody outside uses them; what only checks
    a field does not use it, and a subclass elsewhere may well call `super().__post_init__`.
    """
    read = read_outside(path, node.name) - {"__post_init__"}
    for method in node.body:
        if isinstance(method, Function) and method.name in read:
            read |= attributes_read(method)
    return sorted(set(fields_of(node)) - read)


# Fields that are read, but not by their name.
READ_OTHERWISE = {
    "Mixers": "a field is a letter; ModelConfig.mixer(letter) reads it",
}
CONFIGS = [
    pytest.param(path, node, id=f"{path}: {node.name}")
    for path, tree in trees().items()
    if path.startswith("hyena/configs/") or path.startswith("hyena/cli/")
    for node in tree.body
    if isinstance(node, ast.ClassDef) and is_dataclass(node)
]


@pytest.mark.parametrize(("path", "node"), CONFIGS)
def test_every_field_of_a_configuration_is_read(path: str, node: ast.ClassDef):
    missing = unread(path, node)
    if node.name in READ_OTHERWISE:
        assert missing, f"{node.name} needs no exception any more"
    else:
        assert not missing


def test_a_field_that_nobody_reads_is_found():
    text = """
class Knobs:
    width: int
    swallowed: int = 3
    checked: int = 3
    behind: int = 3
    def __post_init__(self):
        assert self.checked
    @property
    def hidden(self):
        return self.behind
"""
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.ClassDef)
    assert unread("x", node) == ["checked", "swallowed"]


def test_the_letters_are_the_fields_of_mixers():
    (mixers,) = (n for n in trees()["hyena/configs/mixers.py"].body if isinstance(n, ast.ClassDef) and n.name == "Mixers")
    import hyena

    assert list(hyena.letters()) == fields_of(mixers)
    for letter in hyena.letters():
        config = hyena.ModelConfig(pattern=letter, width=8, vocab_size=4)
        assert config.mixer(letter) is vars(config.mixers)[letter]
