"""`hyena bench decode`: what it writes, what it prints, and what stays of a run that is stopped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyena.bench import decode, machine
from hyena.bench.decode import CONTEXTS, Result, Row, Settings
from hyena.bench.streams import ENGINES
from hyena.bench.timing import Samples, Spread
from hyena.cli.bench_decode import Arguments
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nobody else computes."""
    monkeypatch.setattr(machine, "load", lambda: 0.0)


LINE = ("--contexts", "4", "16", "--layers", "1", "--width", "8", "--steps", "20", "--rounds", "1", "--seconds", "0.01",
        "--threads", "1")  # fmt: skip


def test_numbers_report_and_picture(run: Run, tmp_path: Path):
    pytest.importorskip("matplotlib")
    status, out, err = run("bench", "decode", *LINE, "--out", tmp_path)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"decode.{ending}" for ending in ("json", "md", "png")}
    values = json.loads((tmp_path / "decode.json").read_text())
    assert values["complete"] is True
    assert (values["contexts"], values["steps"], values["layers"]) == ([4, 16], 20, 1)
    assert values["command"].startswith("hyena bench decode --contexts 4 16")
    assert [row["engine"] for row in values["rows"]] == [name for name in ENGINES for _ in (4, 16)]
    page = (tmp_path / "decode.md").read_text()
    assert out.startswith(page)
    assert "(decode.png)" in page
    assert "| modal: slowest context against fastest |" in page
    assert "work" in err


def test_json(run: Run, tmp_path: Path):
    status, out, _ = run("bench", "decode", *LINE, "--engines", "modal", "--json", "--out", tmp_path / "mine")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "mine.json").read_text())


def results(count: int) -> Iterator[Result]:
    """Rounds whose times are written down, of a machine on which all bars are cleared; then somebody presses Ctrl-C."""
    seconds = {"cached": 1e-5, "tiled": 1e-7, "epoched": 1e-6, "modal": 0.0, "attention": 1e-5, "recompute": 1e-4}
    for _ in range(count):
        each = {f"{name} {L}": 1e-3 + slope * L for name, slope in seconds.items() for L in CONTEXTS}
        rows = [
            Row(name, ENGINES[name].label, L, 9, Spread(t, t, t, 1), t, t) for name in ENGINES for L in CONTEXTS
            if (t := each[f"{name} {L}"])
        ]  # fmt: skip
        yield Result(rows, Samples([each]))
    raise KeyboardInterrupt


def test_what_was_finished_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "measure", lambda *_: results(1))
    status, out, err = run("bench", "decode", "--out", tmp_path)
    assert (status, out) == (130, "")
    assert "interrupted: what was finished, rounds: 1" in err
    values = json.loads((tmp_path / "decode.json").read_text())
    assert values["complete"] is False
    assert [ratio["promised"] for ratio in values["ratios"]][:4] == ["at most 1.6", "at least 8", "at most 1.1", "at least 25"]
    page = (tmp_path / "decode.md").read_text()
    assert "this run was interrupted" in page
    assert "| cached: times as long as tiled at 16,384 | **62.5** (62.5 - 62.5) | at least 8 |" in page


def test_stopped_before_the_first_round_nothing_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "measure", lambda *_: results(0))
    assert run("bench", "decode", "--out", tmp_path).status == 130
    assert list(tmp_path.iterdir()) == []


def test_options(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Settings] = []
    monkeypatch.setattr(decode, "measure", lambda settings, *_: (asked.append(settings), results(1))[1])
    for line in ((), ("--quick", "--threads", "1", "--rounds", "2")):
        run("bench", "decode", "--out", tmp_path, *line)
    assert asked[0] == Settings()
    quick = Settings(contexts=(256, 1024, 4096), layers=4, width=64, steps=256, rounds=2, seconds=0.3, threads=1)
    assert asked[1] == quick
    assert (Arguments().contexts, Arguments().engines) == (CONTEXTS, tuple(ENGINES))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--engines tile", ("'tile'", "did you mean 'tiled'")),
        ("--contexts 0", ("contexts", "0")),
        ("--out {home}/nowhere/x", ("nowhere", "no directory")),
    ],
)
def test_what_cannot_be_measured_is_one_line(run: Run, tmp_path: Path, line: str, parts: tuple[str, ...]):
    status, out, err = run("bench", "decode", "--out", tmp_path, *line.replace("{home}", str(tmp_path)).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in parts), err
    assert list(tmp_path.iterdir()) == []
