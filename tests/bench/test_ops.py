"""The measurement: which rows there are, what is extrapolated and marked, what is left out and why. No test asserts a time."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hyena.bench import ops
from hyena.bench.memory import Memory
from hyena.bench.ops import Row, Settings, extrapolate, measure, time_backends
from hyena.bench.rivals import RIVALS, Rival, Shape, Work
from hyena.ops import plan
from tests.helpers import refused

TINY = Settings(
    lengths=(16, 4), width=64, threads=1, rounds=3, seconds=1e3, rivals=("torch", "conv1d", "sdpa"), memory_lengths=()
)


def run(settings: Settings) -> tuple[list[Row], list[str], list[tuple[int, int, str]]]:
    """Rows, notes, progress."""
    notes: list[str] = []
    progress: list[tuple[int, int, str]] = []
    rows = list(measure(settings, notes.append, lambda *done: progress.append(done)))
    return rows, notes, progress


def test_a_row_for_each_method_length_and_direction():
    rows, notes, progress = run(TINY)
    forward = ["hyena", "hyena-prepared", "torch", "conv1d", "sdpa"]
    backward = ["hyena", "torch", "conv1d", "sdpa"]
    cells = [
        (L, gradient, method) for L in (4, 16) for gradient in (False, True) for method in (backward if gradient else forward)
    ]
    assert [(row.shape.L, row.gradient, row.method) for row in rows] == cells
    assert notes == []
    for row in rows:
        assert row.seconds is not None
        assert row.seconds.count >= 3
        assert row.calls >= 1
        assert row.ratio is not None
        assert row.against == ("hyena" if row.gradient else RIVALS[row.method].against)
        assert (row.extrapolated, row.reason, row.memory) == (False, None, None)
        assert row.nanoseconds is not None
        assert row.nanoseconds.median == pytest.approx(row.seconds.median * 1e9 / (64 * row.shape.L))
    done, total, what = zip(*progress, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[0]
    assert what[:2] == ("4 tokens, forward", "4 tokens, forward and backward")


def test_rows_say_which_backend_ran_and_how_far_outputs_are_from_ours():
    rows, _, _ = run(TINY)
    for row in rows:
        s = row.shape
        if row.method == "hyena":
            assert row.backend == plan(s.B, s.D, s.L, s.K, s.G, needs_grad=row.gradient, gated=True, threads=1).backend
        assert (row.backend is not None) is row.method.startswith("hyena")
        assert (row.difference is not None) is (not row.gradient and row.method not in ("hyena", "sdpa"))
        assert row.difference is None or row.difference < 1e-5


def test_rows_are_json():
    rows, _, _ = run(TINY)
    values = json.loads(json.dumps([row.to_dict() for row in rows], allow_nan=False))
    assert set(values[0]["seconds"]) == {"median", "lower", "upper", "count"}
    assert values[0]["shape"] == {"B": 1, "D": 64, "L": 4, "K": 4, "G": 64}


def test_threads_are_put_back():
    before = torch.get_num_threads()
    settings = Settings(lengths=(4,), width=2, threads=before + 1, rounds=1, rivals=(), memory_lengths=(), gradient=False)
    for _ in measure(settings, lambda _: None, lambda *_: None):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_quadratic_method_is_extrapolated_where_a_call_takes_too_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ops, "_ANCHORS", (8, 32))
    monkeypatch.setattr(ops, "extrapolate", lambda known, L: 1e9 if L > 64 else 0.0)
    rows, _, _ = run(Settings(lengths=(32, 64, 128), width=64, rounds=3, rivals=("sdpa",), memory_lengths=(), gradient=False))
    sdpa = {row.shape.L: row for row in rows if row.method == "sdpa"}
    assert [sdpa[L].extrapolated for L in (32, 64, 128)] == [False, False, True]
    beyond = sdpa[128]
    assert beyond.seconds is not None
    assert beyond.ratio is not None
    assert (beyond.seconds.count, beyond.ratio.count, beyond.calls) == (0, 0, 0)
    assert beyond.seconds.median == 64e9
    assert beyond.reason == "too long to be measured"


def test_lengths_that_none_shorter_precedes_have_anchors(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[dict, int]] = []
    monkeypatch.setattr(ops, "_ANCHORS", (8, 16))
    monkeypatch.setattr(ops, "extrapolate", lambda known, L: asked.append((dict(known), L)) or 1e9)
    rows, _, _ = run(Settings(lengths=(32,), width=64, rounds=3, rivals=("sdpa",), memory_lengths=(), gradient=False))
    assert [row.shape.L for row in rows] == [32, 32, 32]
    assert rows[-1].extrapolated
    assert {length for known, _ in asked for length in known} == {8, 16}


def test_attention_on_few_channels_is_extrapolated_from_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ops, "_ANCHORS", (8, 16))
    settings = Settings(lengths=(32,), width=16, rounds=3, rivals=("sdpa",), memory_lengths=(), gradient=False)
    (row,) = [row for row in run(settings)[0] if row.method == "sdpa"]
    assert row.extrapolated
    assert row.seconds is not None
    assert "64" in str(row.reason)


def test_too_few_channels_for_attention():
    settings = Settings(lengths=(8,), width=16, rounds=3, rivals=("sdpa",), memory_lengths=(), gradient=False)
    (row,) = [row for row in run(settings)[0] if row.method == "sdpa"]
    assert (row.seconds, row.ratio) == (None, None)
    assert "64" in str(row.reason)


def test_time_grows_at_most_with_the_square():
    assert extrapolate({10: 3.0}, 20) == 12
    assert extrapolate({1: 0.5, 10: 100.0, 20: 400.0}, 40) == pytest.approx(1600)
    assert extrapolate({10: 1.0, 20: 2.0}, 40) == pytest.approx(4)  # as long as it grows in proportion, it does
    assert extrapolate({10: 20.0, 20: 60.0}, 100) == pytest.approx(100 + 100**2 / 10)
    assert extrapolate({10: 1.0, 20: 10.0}, 40) == pytest.approx(40)  # faster than the square: not carried on
    with refused("nothing was measured"):
        extrapolate({}, 5)


def test_long_sequences_take_fewer_channels():
    settings = Settings(width=256, most_points=2**16)
    assert [settings.shape(L).D for L in (64, 256, 1024, 4096, 2**20)] == [256, 256, 64, 16, 16]
    assert Settings(width=8).shape(2**20).D == 8
    assert Settings(width=256, batch=4).shape(2**16) == Shape.square(4, 64, 2**16)


def test_memory_is_measured_where_asked(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(ops, "measure_memory", lambda *order: asked.append(order) or Memory(7, 0.5))
    settings = Settings(lengths=(4, 8), width=4, threads=1, rounds=3, rivals=(), memory_lengths=(8,))
    rows = run(settings)[0]
    assert [row.memory for row in rows] == [None, None, None, *3 * [Memory(7, 0.5)]]
    shape = Shape.square(1, 4, 8)
    assert asked == [("hyena", shape, False, 1), ("hyena-prepared", shape, False, 1), ("hyena", shape, True, 1)]


def test_what_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    wrong = Rival("wrong", "wrong", lambda o: Work(lambda: o.u + 1, ()))
    monkeypatch.setitem(ops.RIVALS, "wrong", wrong)
    with refused("wrong", "differ by"):
        run(Settings(lengths=(8,), width=4, rivals=("wrong",), memory_lengths=()))


def test_without_scipy_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    settings = Settings(lengths=(4,), width=2, rounds=3, rivals=("scipy", "torch"), memory_lengths=(), gradient=False)
    rows, notes, _ = run(settings)
    assert [row.method for row in rows] == ["hyena", "hyena-prepared", "torch"]
    assert len(notes) == 1
    assert "hyena[bench]" in notes[0]


def test_a_foreign_environment_that_is_none_is_said_at_once(tmp_path: Path):
    with refused("cannot be run"):
        run(Settings(lengths=(4,), nvsubquadratic=tmp_path / "python"))


WRONG = {
    "no length": ({"lengths": ()}, ("lengths", "none")),
    "a length": ({"lengths": (8, 0)}, ("lengths", "8, 0")),
    "a width": ({"width": 0}, ("width", "0")),
    "threads": ({"threads": -1}, ("threads", "-1")),
    "rounds": ({"rounds": 0}, ("rounds", "0")),
    "seconds": ({"seconds": 0.0}, ("seconds", "0.0")),
    "a rival": ({"rivals": ("torc",)}, ("'torc'", "did you mean 'torch'", "conv1d")),
    "ourselves": ({"rivals": ("hyena",)}, ("'hyena'", "the rivals")),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_be(name: str):
    options, parts = WRONG[name]
    with refused(*parts):
        Settings(**options)


def test_backends_alone():
    found = time_backends(Shape(1, 4, 64, 8, 4), ("direct", "fft"), gradient=True, rounds=3, seconds=0.01)
    assert set(found.calls) == {"direct", "fft"}
    assert found.ratio("fft", "direct").count == 3
