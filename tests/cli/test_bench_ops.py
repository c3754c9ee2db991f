"""`hyena bench ops`: what it writes, what it prints, and what stays of a run that is stopped."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyena.bench import machine, ops
from hyena.bench.ops import LENGTHS, Row, Settings
from hyena.bench.rivals import OURS, RIVALS
from hyena.cli.bench_ops import Arguments
from tests.bench.rows import TIMES, rows
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nobody else computes."""
    monkeypatch.setattr(machine, "load", lambda: 0.0)


LINE = ("--lengths", "4", "8", "--width", "4", "--threads", "1", "--rounds", "3", "--seconds", "0.01", "--rivals", "torch")


def test_numbers_report_and_picture(run: Run, tmp_path: Path):
    pytest.importorskip("matplotlib")
    status, out, err = run("bench", "ops", *LINE, "--out", tmp_path)
    assert status == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"long_conv.{ending}" for ending in ("json", "md", "png")}
    values = json.loads((tmp_path / "long_conv.json").read_text())
    assert values["complete"] is True
    assert (values["threads"], values["rounds"]) == (1, 3)
    assert values["command"].startswith("hyena bench ops --lengths 4 8 --width 4")
    assert [row["method"] for row in values["rows"]] == 2 * ["hyena", "hyena-prepared", "torch", "hyena", "torch"]
    page = (tmp_path / "long_conv.md").read_text()
    assert out.startswith(page)
    assert "(long_conv.png)" in page
    assert f"picture: {tmp_path / 'long_conv.png'}" in out
    assert "work" in err


def test_json(run: Run, tmp_path: Path):
    status, out, _ = run("bench", "ops", *LINE, "--no-gradient", "--json", "--out", tmp_path / "mine")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "mine.json").read_text())
    assert not any(row["gradient"] for row in json.loads(out)["rows"])


def test_a_busy_machine_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Settings]):
    monkeypatch.setattr(machine, "load", lambda: 1000.0)
    _, _, err = run("bench", "ops", "--out", tmp_path)
    assert "the load was 1000.00" in err
    assert "the load was 1000.00" in json.loads((tmp_path / "long_conv.json").read_text())["notes"][0]


def test_rivals_wait_as_their_users_have_them_wait(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Settings]
):
    for before, after in ((None, None), ("7", "7")):
        monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
        if before is not None:
            monkeypatch.setenv("GOMP_SPINCOUNT", before)
        assert run("bench", "ops", "--out", tmp_path).status == 0
        assert os.environ.get("GOMP_SPINCOUNT") == after


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that a command asks for; nothing is measured."""
    found: list[Settings] = []

    def measure(settings: Settings, *_: object) -> Iterator[Row]:
        found.append(settings)
        yield from rows(TIMES)

    monkeypatch.setattr(ops, "measure", measure)
    return found


def test_options(run: Run, tmp_path: Path, asked: list[Settings]):
    assert run("bench", "ops", "--out", tmp_path).status == 0
    assert asked[0] == Settings()
    assert run("bench", "ops", "--out", tmp_path, "--no-memory", "--batch", "3", "--nvsubquadratic", "python").status == 0
    assert asked[1] == Settings(batch=3, memory_lengths=(), nvsubquadratic=Path("python"))
    assert run("bench", "ops", "--out", tmp_path, "--quick", "--threads", "1").status == 0
    quick = Settings(lengths=(128, 1024, 8192), width=64, threads=1, rounds=5, seconds=0.5, memory_lengths=())
    assert asked[2] == quick


def test_defaults_are_those_of_the_measurement():
    assert Arguments().lengths == LENGTHS
    assert set(Arguments().rivals) == set(RIVALS) - set(OURS)


def stopped(after: int) -> Iterator[Row]:
    """Rows until somebody presses Ctrl-C."""
    yield from rows(TIMES)[:after]
    raise KeyboardInterrupt


def test_what_was_finished_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ops, "measure", lambda *_: stopped(7))
    status, out, err = run("bench", "ops", "--out", tmp_path)
    assert (status, out) == (130, "")
    assert "interrupted: the 7 rows" in err
    values = json.loads((tmp_path / "long_conv.json").read_text())
    assert (values["complete"], len(values["rows"])) == (False, 7)
    assert "this run was interrupted" in (tmp_path / "long_conv.md").read_text()
    assert signal.getsignal(signal.SIGINT) is before


def test_stopped_before_the_first_row_nothing_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "long_conv.json").write_text("as it was")
    monkeypatch.setattr(ops, "measure", lambda *_: stopped(0))
    assert run("bench", "ops", "--out", tmp_path).status == 130
    assert [path.name for path in tmp_path.iterdir()] == ["long_conv.json"]
    assert (tmp_path / "long_conv.json").read_text() == "as it was"


LINES = {
    "a rival": ("--rivals torc", ("'torc'", "did you mean 'torch'")),
    "a length": ("--lengths 0", ("lengths", "0")),
    "no length": ("--lengths", ("lengths", "none")),
    "a width": ("--width 0", ("width", "0")),
    "an environment": ("--nvsubquadratic {home}/python", ("{home}/python", "cannot be run")),
    "a place": ("--out {home}/nowhere/x", ("nowhere", "no directory")),
    "an option": ("--length 3", ("--length", "--lengths")),
}


@pytest.mark.parametrize("name", LINES)
def test_what_cannot_be_measured_is_one_line(run: Run, tmp_path: Path, name: str):
    line, parts = LINES[name]
    status, out, err = run("bench", "ops", "--out", tmp_path, *line.replace("{home}", str(tmp_path)).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part.replace("{home}", str(tmp_path)) in err for part in parts), err
    assert list(tmp_path.iterdir()) == []


def test_calibration_is_kept_printed_and_in_force(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hyena.bench import calibrate
    from hyena.ops import costs

    mine = costs.Costs(fir=0.125)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(calibrate, "calibrate", lambda report: report(3, 3) or mine)
    costs.in_force.cache_clear()
    try:
        status, out, _ = run("bench", "ops", "--calibrate")
        assert status == 0
        assert "fir                0.125\n" in out
        assert str(tmp_path / "hyena" / "costs.json") in out
        assert costs.in_force()[0] == mine
        assert str(tmp_path) in run("info").out
        assert json.loads(run("bench", "ops", "--calibrate", "--json").out)["costs"]["fir"] == 0.125
    finally:
        costs.in_force.cache_clear()
