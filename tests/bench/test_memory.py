"""The peak of one computation, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from hyena.bench import memory
from hyena.bench.memory import Memory, measure
from hyena.bench.rivals import Shape
from tests.helpers import refused

SHAPE = Shape.square(1, 16, 2**15)


def test_multiples_of_the_output():
    assert Memory.of(8 * SHAPE.points, SHAPE) == Memory(8 * SHAPE.points, 2.0)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are exact on Linux alone")
@pytest.mark.parametrize("gradient", [False, True])
def test_the_transforms_of_pytorch_take_several_outputs(gradient: bool):
    # At least the padded result and one spectrum, 2 outputs each; at most what 15 intermediates of 2 outputs would take.
    found = measure("torch", SHAPE, gradient, threads=1)
    assert 3 < found.outputs < 30
    assert found.extra_bytes == pytest.approx(found.outputs * 4 * SHAPE.points)


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch):
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: none left\n")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: done)
    with refused("torch", 2**15, "MemoryError: none left"):
        measure("torch", SHAPE, gradient=False, threads=1)


def test_where_the_system_keeps_no_account_the_rusage_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_status", lambda _: None)
    assert memory.peak() > 10**6
    assert memory.extra_bytes("hyena", Shape.square(1, 4, 64), gradient=True) >= 0


def test_the_script_writes_a_number(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    order = '{"name": "torch", "shape": {"B": 1, "D": 2, "L": 9, "K": 9, "G": 2}, "gradient": true, "threads": 1}'
    monkeypatch.setattr(sys, "argv", ["memory", order])
    memory.main()
    assert int(capsys.readouterr().out) >= 0
