"""`hyena bench length`: what it writes, what it prints, and what stays of a run that is stopped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyena.bench import length, machine
from hyena.bench.length import LENGTHS, METHODS, Row, Settings
from hyena.bench.timing import Spread
from hyena.cli.bench_length import Arguments
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nobody else computes."""
    monkeypatch.setattr(machine, "load", lambda: 0.0)


LINE = ("--lengths", "8", "--layers", "1", "--width", "8", "--rounds", "1", "--threads", "1", "--methods", "hyena")


def test_numbers_report_and_picture(run: Run, tmp_path: Path):
    pytest.importorskip("matplotlib")
    status, out, err = run("bench", "length", *LINE, "--out", tmp_path)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"length.{ending}" for ending in ("json", "md", "png")}
    values = json.loads((tmp_path / "length.json").read_text())
    assert (values["complete"], values["lengths"], values["layers"]) == (True, [8], 1)
    assert [row["method"] for row in values["rows"]] == ["hyena"]
    page = (tmp_path / "length.md").read_text()
    assert out.startswith(page)
    assert "(length.png)" in page
    assert "work" in err


def rows(count: int) -> Iterator[Row]:
    """Rows until somebody presses Ctrl-C."""
    for L in LENGTHS[:count]:
        one = Spread(1e-5 * L, 1e-5 * L, 1e-5 * L, 1)
        yield Row("hyena", "Hyena", L, one, one, one, 2**30, 2**28)
    raise KeyboardInterrupt


def test_what_was_finished_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(length, "measure", lambda *_: rows(2))
    status, out, err = run("bench", "length", "--out", tmp_path)
    assert (status, out) == (130, "")
    assert "interrupted: what was finished, rows: 2" in err
    values = json.loads((tmp_path / "length.json").read_text())
    assert (values["complete"], len(values["rows"])) == (False, 2)
    assert "this run was interrupted" in (tmp_path / "length.md").read_text()


def test_stopped_before_the_first_row_nothing_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(length, "measure", lambda *_: rows(0))
    assert run("bench", "length", "--out", tmp_path).status == 130
    assert list(tmp_path.iterdir()) == []


def test_options(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Settings] = []
    monkeypatch.setattr(length, "measure", lambda settings, *_: (asked.append(settings), rows(1))[1])
    for line in ((), ("--quick", "--threads", "1", "--max-memory", "1G")):
        run("bench", "length", "--out", tmp_path, *line)
    assert asked == [
        Settings(),
        Settings(lengths=(256, 1024, 4096), layers=2, width=64, rounds=2, max_memory=2**30, threads=1),
    ]
    assert (Arguments().lengths, Arguments().methods) == (LENGTHS, tuple(METHODS))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--methods hyna", ("'hyna'", "did you mean 'hyena'")),
        ("--lengths 1", ("lengths", "1")),
        ("--max-memory lots", ("max_memory", "'lots'")),
        ("--out {home}/nowhere/x", ("nowhere", "no directory")),
    ],
)
def test_what_cannot_be_measured_is_one_line(run: Run, tmp_path: Path, line: str, parts: tuple[str, ...]):
    status, out, err = run("bench", "length", "--out", tmp_path, *line.replace("{home}", str(tmp_path)).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in parts), err
    assert list(tmp_path.iterdir()) == []
