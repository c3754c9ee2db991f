"""`hyena convert`: one line that says what was done, options for the cures, status 2 and nothing left for the rest."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import hyena
from hyena.models import LanguageModel
from tests.checkpoints.golden import case
from tests.cli.conftest import Run
from tests.helpers import unchecked
from tests.training.runs import MODEL

PORT, LM = case("hyenadna-hf"), case("safari-lm")


def test_a_published_model_becomes_ours(run: Run, tmp_path: Path):
    source = LM.folder / "state.safetensors"
    (tmp_path / "config.json").write_text(json.dumps(LM.config))
    status, out, err = run("convert", source, tmp_path / "m", "--from", "safari", "--config", tmp_path / "config.json")
    assert (status, err) == (0, "")
    parameters = f"{LM.model().parameter_count():,}"
    assert out == (
        f"{tmp_path / 'm'}: hyena, {parameters} parameters, float32; "
        f"read back: {len(LM.model().state_dict())} tensors are equal, and so are the logits of 64 ids\n"
    )
    with torch.no_grad():
        torch.testing.assert_close(hyena.load(tmp_path / "m")(LM.io["input_ids"]), LM.io["logits"], atol=1e-4, rtol=1e-4)


def test_ours_becomes_a_published_one_in_half_precision(run: Run, models: Path, tmp_path: Path):
    line = ("convert", models / "bytes", tmp_path / "m", "--to", "safari", "--dtype", "bfloat16")
    status, out, err = run(*line)
    assert (status, err) == (0, "")
    assert "safari" in out
    assert "bfloat16 and float32 (filters and rotary frequencies stay float32)" in out
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "model.ckpt"]
    assert run(*line).status == 2
    assert run(*line, "--overwrite").status == 0


def test_a_refusal_names_an_option_that_helps(run: Run, models: Path, tmp_path: Path):
    line = ("convert", models / "dna", tmp_path / "m", "--to", "safari")
    status, out, err = run(*line)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "tokenizer = 'dna'" in err
    cure = re.search(r"--drop \w+", err)
    assert cure is not None
    assert list(tmp_path.iterdir()) == []
    assert run(*line, *cure[0].split()).status == 0
    assert (
        run("convert", tmp_path / "m", tmp_path / "n", "--to", "hyenadna", "--from", "safari", "--drop", "tokenizer").status
        == 0
    )


def test_the_cures_are_options_that_the_command_has(run: Run, tmp_path: Path):
    known = run("convert", "--help").out
    (tmp_path / "bare").mkdir()
    shutil.copy(PORT.folder / "hf_model.safetensors", tmp_path / "bare" / "model.safetensors")
    for source, more in ((tmp_path / "bare", ()), (tmp_path / "bare", ("--from", "hyenadna-hf"))):
        outcome = run("convert", source, tmp_path / "m", *more)
        assert outcome.status == 2
        (option,) = re.findall(r"--[a-z]+", outcome.err) or [""]
        assert option in ("--from", "--config")
        assert option in known
    assert [path.name for path in tmp_path.iterdir()] == ["bare"]


@pytest.mark.parametrize("beyond", ["truncate", "extend"])
def test_what_is_a_policy_can_be_given_up_and_what_is_a_function_cannot(run: Run, tmp_path: Path, beyond: str):
    with unchecked():
        LanguageModel(MODEL.replace(beyond=beyond, norm="rms")).save(tmp_path / "rms")
        LanguageModel(MODEL.replace(beyond=beyond)).save(tmp_path / "plain")
    refused = run("convert", tmp_path / "rms", tmp_path / "m", "--to", "safari", "--drop", "beyond", "norm")
    assert refused.status == 2
    assert "'norm' cannot be dropped" in refused.err
    assert f"beyond = '{beyond}'" in run("convert", tmp_path / "plain", tmp_path / "m", "--to", "safari").err
    assert run("convert", tmp_path / "plain", tmp_path / "m", "--to", "safari", "--drop", "beyond").status == 0
    with unchecked():
        assert hyena.load(tmp_path / "m", format="safari").config.beyond == "error"


def test_a_large_model_says_that_it_was_not_run(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hyena.checkpoints import exporter

    monkeypatch.setattr(exporter, "COMPARED_PARAMETERS", 0)
    assert "too large to compare logits" in run("convert", models / "bytes", tmp_path / "m").out
