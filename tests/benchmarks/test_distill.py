"""The script of the distillation report, on a run so small that its figures mean nothing."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hyena.training import train
from tests.helpers import unchecked
from tests.house.sources import ROOT
from tests.training.runs import TEXT, tiny


def test_the_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import distill

    (tmp_path / "text.txt").write_text(TEXT)
    train(tiny(tmp_path / "run", tmp_path / "text.txt", valid_fraction=0.2))
    line = [str(tmp_path / "run"), "--orders", "2", "16", "--heads", "0", "3", "--windows", "2"]
    monkeypatch.setattr(sys, "argv", ["distill.py", *line, "--out", str(tmp_path), "--images", str(tmp_path)])
    with unchecked():
        distill.main()
    values = json.loads((tmp_path / "distill.json").read_text())
    assert [(r["order"], r["head"]) for r in values["rows"]] == [(2, 0), (2, 3), (16, 0), (16, 3)]
    assert (values["windows"], values["files"]) == (2, ["text.txt"])
    page = (tmp_path / "distill.md").read_text()
    assert page.count("\n| ") == 5
    assert "The bar for order 16 and a head" in page
    assert (tmp_path / "distill.png").exists() == bool(find_spec("matplotlib"))
    assert "order 16  head  3" in capsys.readouterr().out
