"""Passes over long sequences are measured at sizes where a moment is enough, in processes of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hyena.bench import length, length_child
from hyena.bench.length import METHODS, Row, Settings, in_a_process, measure, whole_bytes
from hyena.bench.length_child import Products
from hyena.bench.length_plot import draw
from hyena.bench.length_report import markdown
from hyena.bench.sized import model_of
from hyena.bench.timing import Spread
from tests.helpers import refused

SMALL = Settings(lengths=(40, 4), layers=1, width=8, rounds=2, threads=1)
FACTS = {"layers": 8, "width": 256, "threads": 2, "max_memory": 2**31}


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What a process would print, without one: seconds by a formula of the length."""

    def install(seconds: Callable[[int], float]) -> None:
        def found(method: object, L: int, settings: Settings) -> dict[str, Any]:
            times = [seconds(L)] * settings.rounds
            return {"seconds": times, "products": [t / 2 for t in times], "peak_bytes": 2000 * L, "before_bytes": 5}

        monkeypatch.setattr(length, "in_a_process", found)

    return install


def test_a_process_gives_times_and_sizes():
    found = in_a_process(METHODS["hyena"], 40, SMALL)
    assert len(found["seconds"]) == len(found["products"]) == 2
    assert min(found["seconds"] + found["products"]) > 0
    assert found["peak_bytes"] >= found["before_bytes"] > 10**7


@pytest.mark.parametrize("name", METHODS)
def test_every_method_in_this_process(name: str):
    method = METHODS[name]
    found = length_child.measure({"letter": method.letter, "bounded": method.bounded, "length": 30} | asdict(SMALL))
    assert len(found["seconds"]) == 2
    short = length_child.measure(
        {"letter": method.letter, "bounded": method.bounded, "length": 30} | asdict(replace(SMALL, seconds=1e-9))
    )
    assert len(short["seconds"]) == 1


def test_the_script_writes_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    order = json.dumps({"letter": "R", "bounded": True, "length": 9} | asdict(replace(SMALL, threads=torch.get_num_threads())))
    monkeypatch.setattr(sys, "argv", ["length_child", order])
    length_child.main()
    assert json.loads(capsys.readouterr().out)["peak_bytes"] > 0


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch):
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: none left\n")
    monkeypatch.setattr(length.subprocess, "run", lambda *_, **__: done)
    with refused("hyena at 9 tokens", "MemoryError: none left"):
        in_a_process(METHODS["hyena"], 9, SMALL)


def test_the_products_are_those_of_the_model():
    model = model_of("H", 2, 8, 16)
    products = Products(model)
    per_token = sum(w.numel() for w in products._weights)
    assert per_token == 2 * (4 + 8) * 8 * 8 + 16 * 8
    products(5000)


def test_rows_come_shortest_first_and_attention_is_extrapolated(instead: Callable[..., None]):
    instead(lambda L: 1e-3 * L * L)
    reports: list[tuple[int, int, str]] = []
    settings = replace(SMALL, lengths=(8, 4, 16, 1000), longest=1.0)
    rows = list(measure(settings, pytest.fail, lambda *each: reports.append(each)))
    assert [(row.length, row.method) for row in rows] == [(L, name) for L in (4, 8, 16, 1000) for name in METHODS]
    assert reports == sorted(reports, key=lambda each: each[0])
    assert reports[-1][0] == reports[-1][1]
    last = rows[-1]
    assert [row.extrapolated for row in rows[-3:]] == [False, True, True]
    assert last.seconds.median == pytest.approx(1000)
    assert last.tokens_per_second == pytest.approx(1)
    assert (last.ratio, last.peak_bytes) == (None, None)
    assert rows[0].ratio.median == 2
    assert rows[0].to_dict()["tokens_per_second"] == pytest.approx(250)


def test_attention_that_does_not_fit_is_noted(instead: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    instead(lambda L: 1e-3 * L)
    monkeypatch.setattr(length, "available_bytes", lambda: whole_bytes(SMALL, 10))
    notes: list[str] = []
    rows = list(measure(SMALL, notes.append, lambda *_: None))
    assert [row.seconds is None for row in rows] == [False] * 5 + [True]
    assert notes == [f"attention at 40 tokens is left out: {rows[-1].reason}"]


def test_report_and_picture(tmp_path: Path):
    def one(value: float) -> Spread:
        return Spread(value, 0.9 * value, 1.1 * value, 3)

    rows = [Row("hyena", "Hyena", L, one(L / 1000), one(L / 2000), one(2.0), 2**30, 2**28) for L in (1024, 2048)]
    rows += [Row("attention", "attention", 1024, one(4.0), one(1.0), one(4.0), 2**31, 2**28)]
    rows += [Row("attention", "attention", 2048, one(16.0), extrapolated=True), Row("modal", "m", 1024, reason="no")]
    page = markdown(rows, FACTS, "A machine.", ["a note"], "x.png")
    assert page.startswith(
        "# One pass over a long sequence\n\nA machine.\n\n8 layers of width 256, 2 threads, max_memory 2.00 GiB"
    )
    assert "| tokens | Hyena | attention |" in page
    assert "| 2,048 | 2.05 | ~16.0 |" in page
    assert "| 2,048 | 1.00 GiB | - |" in page
    assert "| 1,024 | **2.00** (1.80 - 2.20) | **4.00** (3.60 - 4.40) |" in page
    assert page.endswith("## Notes\n\n- a note\n")
    pytest.importorskip("matplotlib")
    assert draw(rows, tmp_path / "x.png", "a machine") == tmp_path / "x.png"


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw([], tmp_path / "x.png", "x") is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"lengths": ()}, ("lengths", "none")),
        ({"lengths": (1,)}, ("lengths", "1")),
        ({"rounds": 0}, ("rounds", "0")),
        ({"longest": 0.0}, ("longest", "0")),
        ({"methods": ("hyna",)}, ("'hyna'", "did you mean 'hyena'")),
    ],
)
def test_what_cannot_be_measured(change: dict[str, object], parts: tuple[str, ...]):
    with refused(*parts):
        Settings(**change)
