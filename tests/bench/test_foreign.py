"""The child process of another environment, with a stand-in for the package that lives there."""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hyena.bench import nvsubquadratic_child as child
from hyena.bench.foreign import NAME, Foreign
from hyena.bench.rivals import RIVALS, Shape, operands
from tests.helpers import refused

SHAPE = Shape(2, 8, 30, 30, 4)
STAND_IN = """
import torch

def causal_fftconv1d_fp32_bhl(x, kernel, shortcut):
    L = x.shape[-1]
    y = torch.fft.irfft(torch.fft.rfft(x, n=2 * L) * torch.fft.rfft(kernel, n=2 * L), n=2 * L)[..., :L]
    return y + shortcut[:, None] * x
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path of new interpreters with a package of that name and version."""
    (tmp_path / "nvsubquadratic/ops").mkdir(parents=True)
    (tmp_path / "nvsubquadratic/__init__.py").touch()
    (tmp_path / "nvsubquadratic/ops/__init__.py").touch()
    (tmp_path / "nvsubquadratic/ops/fftconv.py").write_text(STAND_IN)
    (tmp_path / "nvsubquadratic-0.2.0.dist-info").mkdir()
    (tmp_path / "nvsubquadratic-0.2.0.dist-info/METADATA").write_text("Name: nvsubquadratic\nVersion: 0.2.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_it_computes_what_the_rivals_compute(environment: Path):
    with Foreign(Path(sys.executable)) as foreign:
        assert foreign.versions == {NAME: "0.2.0", "torch": torch.__version__}
        rival = foreign.rival
        assert (rival.name, rival.label) == (NAME, "nvsubquadratic 0.2.0")
        work = rival.prepare(o := operands(SHAPE))
        torch.testing.assert_close(work.forward(), RIVALS["torch"].prepare(o).forward())
        assert work.sample is not None
        assert work.sample(2) > 0
        with_gradient = rival.prepare(operands(SHAPE, gradient=True))
        assert with_gradient.sample is not None
        assert with_gradient.sample(1) > 0
        memory = foreign.memory(SHAPE, gradient=True, threads=1)
        assert memory is None or memory.outputs >= 0


def test_the_package_is_not_looked_for_among_our_files(environment: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTHONPATH")
    with refused(NAME, "No module named"):
        Foreign(Path(sys.executable))


def test_an_interpreter_that_is_none(tmp_path: Path):
    with refused(tmp_path / "python", "cannot be run"):
        Foreign(tmp_path / "python")
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    if os.name != "nt":
        with refused(NAME, "status 3"):
            Foreign(script)


def test_errors_in_the_child_are_ours(environment: Path):
    with Foreign(Path(sys.executable)) as foreign, refused(NAME, "KeyError"):
        foreign.sample(1)


def run_child(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *orders: dict) -> list[dict]:
    """The child's answers, in this process."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(order) + "\n" for order in orders)))
    child.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_childs_side_of_the_pipe(
    environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.syspath_prepend(str(environment))
    shape = {"B": 1, "D": 2, "L": 5, "K": 5, "G": 1}
    setting = {"ask": "set", "shape": shape, "gradient": True, "threads": 1}
    path = tmp_path / "y"
    hello, ready, timed, saved, memory, wrong = run_child(
        monkeypatch,
        capsys,
        {"ask": "hello"},
        setting,
        {"ask": "time", "calls": 2},
        {"ask": "save", "path": str(path)},
        {"ask": "memory"},
        {"ask": "dance"},
    )
    assert hello["nvsubquadratic"] == "0.2.0"
    assert (ready, saved) == ({}, {})
    assert timed["seconds"] > 0
    assert path.stat().st_size == 4 * 2 * 5
    assert memory["bytes"] is None or memory["bytes"] >= 0
    assert wrong == {"error": "ValueError: unknown order 'dance'"}
