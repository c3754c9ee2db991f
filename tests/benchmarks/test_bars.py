"""The script of the bars, on sequences so short that its figures mean nothing: every bar gives rows, and rows become pages."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hyena.bench.memory import Memory
from tests.house.sources import ROOT


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bars

    return bars


LETTERS = "abcdefghijkl"
ROWS = dict(zip(LETTERS, (6, 6, 2, 16, 1, 7, 2, 7, 6, 6, 1, 2), strict=True))


@pytest.mark.parametrize("letter", LETTERS)
def test_every_bar_gives_rows(letter: str, bars: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bars.BARS["j"].__globals__["memory"], "measure", lambda *_: Memory(2**20, 0.25))
    settings = bars.Settings(threads=1, rounds=1, seconds=1e-3, shorter=512)
    results = list(bars.BARS[letter](settings))
    assert len(results) == ROWS[letter]
    for result in results:
        assert result.bar == letter
        assert result.value >= 0
        assert (result.passed is None) is (result.limit is None)


def test_what_is_no_matter_of_time_is_cleared(bars: ModuleType):
    settings = bars.Settings(threads=1, rounds=1, seconds=1e-3, shorter=64)
    for letter in ("e", "i"):
        for result in bars.BARS[letter](settings):
            assert result.passed, result


def test_a_bar_is_cleared_or_missed(bars: ModuleType):
    result = bars.Result("a", "x", "D=1", 2.5, 2.5)
    assert result.passed
    assert not bars.Result("a", "x", "D=1", 2.4, 2.5).passed
    assert bars.Result("g", "x", "D=1", 1.5, 1.5, at_least=False).passed
    assert not bars.Result("g", "x", "D=1", 1.6, 1.5, at_least=False).passed
    assert bars.Result("j", "x", "D=1", 1.6).passed is None


def test_the_script(bars: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    line = ["bars.py", "--trial", "--threads", "1", "--only", "e", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    assert bars.main() == 0
    assert "0 of 1 bars are missed" in capsys.readouterr().out
    values = json.loads((tmp_path / "long_conv_bars.json").read_text())
    assert values["trial"] is True
    assert [row["passed"] for row in values["rows"]] == [True]
    page = (tmp_path / "long_conv_bars.md").read_text()
    assert "1 of 1 bars are cleared" in page
    assert "the figures mean nothing" in page


def test_a_missed_bar_is_the_exit_status(bars: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(bars.BARS, "e", lambda _: [bars.Result("e", "x", "D=1", 2e-7, 1e-7, False, 1e-7, 3e-7, "fft", "hm")])
    monkeypatch.setattr(sys, "argv", ["bars.py", "--trial", "--threads", "1", "--only", "e", "--out", str(tmp_path)])
    assert bars.main() == 1
    row = "| e | x | D=1 | 2.00e-07 (1.00e-07 - 3.00e-07) | ≤ 1.00e-07 | **missed** | fft | hm |"
    assert row in (tmp_path / "long_conv_bars.md").read_text()
