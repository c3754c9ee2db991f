"""Documents that are true: their Python runs, their commands parse, their links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from hyena.cli import COMMANDS
from hyena.cli.parse import parse
from hyena.cli.train import configuration
from hyena.errors import HyenaError
from tests.helpers import unchecked
from tests.house.sources import PACKAGE, ROOT, documents

NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
NEEDS = re.compile(r"<!-- needs (\w+) \(the extra `(\w+)`\) -->")
"""A line of a page whose Python uses a package that an extra brings."""


class Block(NamedTuple):
    """Fenced code: its file and first line, its language, its text, and why it is not run."""

    path: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}" if self.path.is_relative_to(ROOT) else f"{self.path}:{self.line}"


def blocks(path: Path, text: str) -> list[Block]:
    """The fenced blocks of a page; the line before a fence may say why it is not run."""
    found: list[Block] = []
    lines = text.splitlines()
    start = None
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = i
        else:
            reason = NOT_RUN.fullmatch(lines[start - 1]) if start else None
            code = "\n".join(lines[start + 1 : i])
            found.append(Block(path, start + 2, lines[start][3:].strip(), code, reason[1] if reason else None))
            start = None
    assert start is None, f"{path}: the block from line {start} on has no end"
    return found


PAGES = {path: blocks(path, path.read_text()) for path in documents()}
PYTHON = {path: [block for block in found if block.language == "python"] for path, found in PAGES.items()}


def test_blocks_are_found():
    text = "a\n```python\nx = 1\n```\n<!-- not run: no file -->\n```python\ny\n```\n```console\n$ hyena info\n```\n"
    assert [tuple(block[1:]) for block in blocks(Path("x"), text)] == [
        (3, "python", "x = 1", None),
        (7, "python", "y", "no file"),
        (10, "console", "$ hyena info", None),
    ]
    assert len(PYTHON[ROOT / "README.md"]) >= 3


def run(found: list[Block]) -> None:
    """Execute blocks one after the other in one namespace, as a reader would."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with unchecked():
        for block in found:
            # Line numbers of the page in tracebacks.
            exec(compile("\n" * (block.line - 1) + block.text, str(block.path), "exec"), namespace)


RUN = {path: [block for block in found if block.reason is None] for path, found in PYTHON.items()}


@pytest.mark.parametrize("path", [path for path, found in RUN.items() if found], ids=lambda path: path.name)
def test_the_python_of_a_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package, extra in NEEDS.findall(path.read_text()):
        pytest.importorskip(package, reason=f"{package} (the extra `{extra}`) is not installed")
    monkeypatch.chdir(tmp_path)
    run(RUN[path])


@pytest.mark.parametrize("block", [b for found in PYTHON.values() for b in found if b.reason], ids=str)
def test_python_that_is_not_run(block: Block):
    pytest.skip(f"{block} is not run: {block.reason}")


def test_a_block_that_fails_is_seen():
    with pytest.raises(AssertionError):
        run([Block(Path("x"), 1, "python", "x = 1", None), Block(Path("x"), 5, "python", "assert x == 2", None)])


def commands(found: list[Block]) -> list[tuple[str, list[str]]]:
    """(where, words) of each command line in the sh and console blocks; a console's other lines are output."""
    lines = []
    for block in found:
        if block.language not in ("sh", "console", "bash", "shell"):
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            if block.language == "console" and not line.startswith("$ "):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                lines.append((str(block), words))
    return lines


COMMAND_LINES = [line for found in PAGES.values() for line in commands(found)]
EXAMPLE_LINES = [
    (f"{path.relative_to(ROOT)}", shlex.split(line.partition("hyena ")[2].join(["hyena ", ""])))
    for path in sorted((ROOT / "examples").glob("*.toml"))
    for line in path.read_text().splitlines()
    if line.startswith("#") and re.search(r":\s+hyena ", line)
]


def check(words: list[str]) -> None:
    """Raise HyenaError unless the command exists and reads these options; files of the repository are read, others not."""
    name, rest = words[1], words[2:]
    if name in ("--help", "--version"):
        return
    if name not in COMMANDS:
        raise HyenaError(f"there is no command {name}")
    if name == "bench":
        name, rest = f"bench_{rest[0]}", rest[1:]
    if name == "train":
        rest = [word for word in rest if word not in ("--resume", "--overwrite")]
        path = rest[0] if (ROOT / rest[0]).is_file() else "examples/shakespeare.toml"
        configuration(path, rest[1:])
    else:
        parse(importlib.import_module(f"hyena.cli.{name}").Arguments, rest, f"hyena {name}", "")


HYENA_LINES = [(where, words) for where, words in COMMAND_LINES + EXAMPLE_LINES if words[0] == "hyena"]


@pytest.mark.parametrize(("where", "words"), HYENA_LINES, ids=[f"{where} {' '.join(words)}" for where, words in HYENA_LINES])
def test_a_command_in_a_page_parses(where: str, words: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    check(words)


def test_commands_that_do_not_exist_are_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert {words[1] for _, words in HYENA_LINES} >= {"train", "generate", "evaluate", "info"}
    for line in ("hyena serve", "hyena generate d --prompt a --topk 3", "hyena train examples/shakespeare.toml --steps 3"):
        with pytest.raises(HyenaError):
            check(line.split())


def test_make_has_every_target_that_the_pages_name():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for _, words in COMMAND_LINES if words[0] == "make"}
    assert named
    assert named <= targets


LINKS = [
    pytest.param(path, target, id=f"{path.relative_to(ROOT)} -> {target}")
    for path in documents()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL))
    if not target.startswith("http")
]


@pytest.mark.parametrize(("path", "target"), LINKS)
def test_a_link_leads_somewhere(path: Path, target: str):
    assert (path.parent / target).exists()


def test_the_readme_shows_every_room():
    text = (ROOT / "README.md").read_text()
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    shown = set(re.findall(r"^[├└]── (\w+)/", text, re.MULTILINE))
    assert shown == rooms


def test_the_files_that_a_page_names_are_there():
    for path in documents():
        for name in re.findall(r"`((?:hyena|tests|docs|reports|examples)/[\w/.-]+)`", path.read_text()):
            assert (ROOT / name).exists(), f"{path.name} names {name}"
