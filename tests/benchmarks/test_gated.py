"""The benchmark of gated convolutions runs, and both ways agree."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def test_a_trial_writes_its_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gated

    monkeypatch.setattr(sys, "argv", ["gated.py", "--trial", "--threads", str(torch.get_num_threads()), "--out", str(tmp_path)])
    assert gated.main() == 0
    rows = json.loads((tmp_path / "gated.json").read_text())["rows"]
    assert [(row["what"], row["taps"], row["groups"]) for row in rows][:3] == [
        ("SE", 7, 32),
        ("SE, the whole layer", 7, 32),
        ("SE", 7, 2),
    ]
    assert len(rows) == 8
    text = (tmp_path / "gated.md").read_text()
    assert "the figures mean nothing" in text
    assert text.count("| ≥ 3 |") == 4
