"""Decoding is measured at sizes where a moment is enough: what is found, what is left out, and what is refused."""

import gc
from dataclasses import replace

import pytest
import torch

from hyena.bench import decode
from hyena.bench.decode import Result, Row, Settings, flatness, measure, ratio
from hyena.bench.sized import model_of, random_ids
from hyena.bench.streams import ENGINES, Stream, remembered, seldom
from hyena.bench.timing import Samples
from tests.helpers import refused

SMALL = Settings(contexts=(16, 3), layers=2, width=8, steps=40, rounds=2, seconds=0.01, least=2, threads=1)


def found(settings: Settings) -> tuple[Result, list[str]]:
    """The last of what a measurement gives, and its notes."""
    notes: list[str] = []
    results = list(measure(settings, notes.append, lambda done, total, what: None))
    assert len(results) == settings.rounds
    return results[-1], notes


def test_every_engine_at_every_context():
    threads, collecting, reports = torch.get_num_threads(), gc.isenabled(), []
    *_, result = measure(SMALL, pytest.fail, lambda done, total, what: reports.append((done, total)))
    assert [(row.engine, row.context) for row in result.rows] == [(name, n) for name in ENGINES for n in (3, 16)]
    assert (torch.get_num_threads(), gc.isenabled()) == (threads, collecting)
    assert reports == sorted(reports)
    assert reports[-1] == (48, 48)
    for row in result.rows:
        assert row.mean is not None
        assert row.mean.count == 2
        assert row.total == row.mean.median + (row.seldom or 0.0)
        assert 0 < row.median <= row.worst
        assert (row.steps == 40) is (row.engine in ("tiled", "epoched")) or row.steps >= 2
        assert (row.first is not None) is (row.seldom is not None) is (row.engine == "tiled")
        assert (row.state_bytes is None) is (row.engine == "recompute")
        assert (row.difference is None) is (ENGINES[row.engine].letter != "H")
    modal = [row.state_bytes for row in result.rows if row.engine == "modal"]
    assert modal[0] == modal[1]
    assert flatness(result, "modal").median >= 1 or flatness(result, "modal").count == 2
    assert ratio(result, ("cached", 16), ("tiled", 3)).count == 2
    assert ratio(result, ("cached", 17), ("tiled", 3)) is None


def test_a_window_starts_anew_from_the_same_context():
    model, ids = model_of("H", 2, 8, 64), random_ids(64)
    for name in ("cached", "tiled", "epoched"):
        engine = ENGINES[name]
        (state,) = remembered(model, ids, 20, [(engine.decoding, 60)])
        stream = Stream(engine, model, 20, ids, state)
        expected = Stream(ENGINES["recompute"], model, 20, ids, None).logits()
        for _ in range(2):
            assert len(stream.window(30, 10.0, 1)) == 30
            torch.testing.assert_close(stream.logits(), expected, rtol=1e-4, atol=1e-5)
        assert len(stream.window(30, 0.0, 3)) == 3


@pytest.mark.parametrize("letter", ["H", "A", "R"])
def test_contexts_that_are_not_read_leave_a_state_of_the_same_size(letter: str, monkeypatch: pytest.MonkeyPatch):
    model, ids = model_of(letter, 2, 8, 64), random_ids(64)
    (read,) = remembered(model, ids, 50, [("tiled", 60)])
    monkeypatch.setattr("hyena.bench.streams.CHUNK", 16)
    (drawn,) = remembered(model, ids, 50, [("tiled", 60)])
    assert read.position.tolist() == drawn.position.tolist() == [50]
    assert {name: t.shape for name, t in read.tensors().items()} == {name: t.shape for name, t in drawn.tensors().items()}
    torch.testing.assert_close(drawn.tensors(), drawn.clone().tensors())
    with torch.no_grad():
        assert model.extend(ids[:, 50:51], drawn)[0].isfinite().all()


def test_what_a_window_does_not_show_takes_time():
    assert seldom(model_of("H", 2, 8, 64), 64, 16) > 0


def test_what_does_not_fit_is_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "available_bytes", lambda: 0)
    result, notes = found(replace(SMALL, engines=("cached", "recompute"), contexts=(8,)))
    assert [row.mean is None for row in result.rows] == [True, False]
    assert "0 B are available" in result.rows[0].reason
    assert notes == [f"Hyena, cached at 8 tokens is left out: {result.rows[0].reason}"]
    monkeypatch.setattr(decode, "CHUNK", 4)
    result, notes = found(replace(SMALL, engines=("recompute",), contexts=(8,)))
    assert result.rows[0].mean is None
    assert flatness(result, "recompute") is None
    assert "not run past 4 tokens" in notes[0]


def test_engines_that_differ_are_not_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "_DIFFERENCE", 0.0)
    with refused("cached and recompute differ by"):
        found(replace(SMALL, engines=("cached", "recompute")))


def test_flatness_is_of_the_slowest_over_the_fastest():
    samples = Samples([{"modal 1": 1.0, "modal 2": 3.0, "modal 4": 2.0}, {"modal 1": 2.0, "modal 2": 4.0, "modal 4": 3.0}])
    rows = [Row("modal", "", n, mean=samples.seconds(f"modal {n}")) for n in (1, 2, 4)]
    assert flatness(Result(rows, samples), "modal").median == 2.5
    assert flatness(Result(rows[:1], samples), "modal") is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"contexts": ()}, ("contexts", "none")),
        ({"contexts": (0,)}, ("contexts", "0")),
        ({"width": 0}, ("width", "0")),
        ({"steps": 1}, ("steps", "1")),
        ({"seconds": 0.0}, ("seconds", "0")),
        ({"engines": ("tile",)}, ("'tile'", "did you mean 'tiled'")),
    ],
)
def test_what_cannot_be_measured(change: dict[str, object], parts: tuple[str, ...]):
    with refused(*parts):
        Settings(**change)
