"""SIGKILL ten times, in steps and in saves: what the run comes to is, byte for byte, what it would have come to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import killed
from tests.training.runs import contents


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system: children would each import torch anew")
def test_a_run_survives_ten_kills_byte_for_byte(tmp_path: Path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.killed", "0"]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    struck = done.stdout.splitlines()
    assert len(struck) == killed.KILLS
    assert sum(line.startswith("in a save") for line in struck) == killed.KILLS // 2
    whole, survivor = (contents(tmp_path / name) for name in ("whole", "killed"))
    for files in (whole, survivor):
        files["run.toml"] = files["run.toml"].replace(b"/killed", b"").replace(b"/whole", b"")
    assert survivor.keys() == whole.keys()
    assert {"metrics.jsonl", "model.safetensors"} < whole.keys()
    assert sum("training.safetensors" in name for name in whole) >= 2
    assert [name for name in whole if whole[name] != survivor[name]] == []
