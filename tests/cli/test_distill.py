"""`hyena distill`: a whole model or nothing in OUT, a table for people, JSON for programs."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import hyena
from hyena.training import train
from tests.cli.conftest import Run
from tests.cli.test_errors import assert_one_line
from tests.training.runs import TEXT, tiny

QUICK = ("--order", "3", "--steps", "2")


def test_a_model_and_its_report(run: Run, models: Path, tmp_path: Path):
    out = tmp_path / "new" / "m"
    line = ("distill", models / "bytes", out, *QUICK, "--head", "2", "--data", models / "text.txt", "--windows", "3")
    status, text, err = run(*line)
    assert status == 0
    drawn = ["distill.png"] if find_spec("matplotlib") else []
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "distill.json", *drawn, "model.safetensors"]
    new = hyena.load(out)
    assert (new.config.mixers.H.modal.order, new.config.mixers.H.modal.head) == (3, 2)
    values = json.loads((out / "distill.json").read_text())
    assert values["predictions"]["positions"] == new.config.max_length
    assert values["past_head"]["positions"] == new.config.max_length - 2
    assert values["windows"] == 3
    for word in ("head of 2 taps and 3 poles", "layer 0, ", "positions past the head", "head alone", str(out)):
        assert word in text
    assert "filter" in err
    assert run("evaluate", out, "--data", models / "text.txt").status == 0


def test_json_is_the_file(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, text, _ = run("distill", models / "bytes", tmp_path / "m", *QUICK, "--json")
    assert status == 0
    values = json.loads(text)
    assert values == json.loads((tmp_path / "m/distill.json").read_text())
    assert values["predictions"] is None
    assert any("no data was given" in sentence for sentence in values["sentences"])
    assert not (tmp_path / "m/distill.png").exists()


def test_a_run_is_compared_on_what_it_held_out(run: Run, tmp_path: Path):
    (tmp_path / "text.txt").write_text(TEXT)
    train(tiny(tmp_path / "run", tmp_path / "text.txt", valid_fraction=0.2))
    status, text, _ = run("distill", tmp_path / "run", tmp_path / "m", *QUICK)
    assert status == 0
    assert "nats per token on" in text
    (tmp_path / "text.txt").unlink()
    for kept in (tmp_path / "run/tokens").rglob("*"):
        if kept.is_file():
            kept.unlink()
    status, text, err = run("distill", tmp_path / "run", tmp_path / "n", *QUICK)
    assert (status, "nats per token on" in text) == (0, False)
    assert "pass --data to compare predictions" in err


def test_the_fewest_poles_for_a_tolerance(run: Run, models: Path, tmp_path: Path):
    status, text, _ = run("distill", models / "bytes", tmp_path / "m", "--tolerance", "0.3", "--steps", "2")
    assert status == 0
    assert "the fewest for a tolerance of 0.3" in text
    assert "(needs " in text


def test_a_classifier(run: Run, models: Path, tmp_path: Path):
    assert run("distill", models / "classifier", tmp_path / "m", *QUICK).status == 0
    assert isinstance(hyena.load(tmp_path / "m"), hyena.Classifier)


def test_bad_input_is_one_line_and_leaves_nothing(run: Run, models: Path, tmp_path: Path):
    line = ("distill", models / "bytes", tmp_path / "m")
    assert_one_line(run(*line), "order or a tolerance")
    assert_one_line(run(*line, "--order", "0"), "order is 0")
    assert_one_line(run(*line, *QUICK, "--data", tmp_path / "nowhere.txt"), "nowhere.txt")
    assert_one_line(run(*line, *QUICK, "--last", "0.1"), "--data")
    assert_one_line(run(*line, *QUICK, "--windows", "0"), "windows is 0")
    assert_one_line(run(*line, "--order", "3", "--steps", "-1"), "steps is -1")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m").mkdir()
    assert_one_line(run(*line, *QUICK), "already exists")


def test_stopped_in_the_middle_nothing_is_left(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hyena.cli.distill.write_json", stop)
    assert run("distill", models / "bytes", tmp_path / "m", *QUICK).status == 130
    assert list(tmp_path.iterdir()) == []


def test_the_made_model_writes(run: Run, models: Path, tmp_path: Path):
    assert run("distill", models / "bytes", tmp_path / "m", *QUICK).status == 0
    model = hyena.load(tmp_path / "m")
    ids = torch.zeros(1, 3, dtype=torch.int64)
    assert hyena.generate(model, ids, max_new_tokens=4, seed=0).shape == (1, 7)
