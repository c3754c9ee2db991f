"""`hyena convert`: one line that says what was done, options for the cures, status 2 and nothing left for the rest."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import hyena
from hyena.checkpoints import convert
from hyena.checkpoints.files import read_tensors, weights_file
from hyena.models import LanguageModel
from tests.checkpoints.golden import case
from tests.checkpoints.test_striped import Runs, directory
from tests.cli.conftest import Run
from tests.helpers import unchecked
from tests.house.sources import ROOT
from tests.training.runs import MODEL

PORT, LM, SH2 = case("hyenadna-hf"), case("safari-lm"), case("sh2-lm")


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


# --- what is broken -----------------------------------------------------------------------------------------------------------


def without(key: str) -> dict[str, Any]:
    """Evo 2's tensors but for one."""
    return {name: tensor for name, tensor in SH2.state.items() if name != key}


def in_shards(path: Path) -> Path:
    """The same in two shards, the second one cut short."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(SH2.config))
    keys = list(SH2.state)
    where = {key: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, key in enumerate(keys)}
    for file in set(where.values()):
        save_file({key: SH2.state[key] for key in keys if where[key] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    last = path / "model-00002-of-00002.safetensors"
    os.truncate(last, last.stat().st_size - 100)
    return path


def of_a_newer_version(path: Path, file: str, key: str) -> Path:
    """A model of ours whose file says that it is of version 9."""
    convert(directory(path.with_name("first"), "sh2-lm"), path)
    shutil.rmtree(path.with_name("first"))
    values = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps(values | {key: 9}))
    return path


SOURCES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "a missing key": (lambda p: directory(p, "sh2-lm", without("blocks.1.filter.h")), ("model.pt", "blocks.1.filter.h")),
    "a surplus key": (
        lambda p: directory(p, "sh2-lm", SH2.state | {"blocks.1.filter.gamma": torch.ones(2)}),
        ("model.pt", "blocks.1.filter.gamma", "no meaning"),
    ),
    "another shape": (
        lambda p: directory(p, "sh2-lm", SH2.state | {"norm.scale": torch.ones(31)}),
        ("model.pt", "norm.scale has shape (31,)", "(32,)"),
    ),
    "code in a pickle": (
        lambda p: directory(p, "sh2-lm", SH2.state | {"norm.scale": Runs(p.parent / "mark")}),
        ("model.pt", "cannot be read without running code"),
    ),
    "a shard cut short": (in_shards, ("model-00002-of-00002.safetensors", "not a whole safetensors file")),
    "an unknown option": (lambda p: directory(p, "sh2-lm", hcx_filter_length=3), ("hcx_filter_length", "no meaning")),
    "a newer version of ours": (
        lambda p: of_a_newer_version(p, "config.json", "format_version"),
        ("config.json", "version 9", "update hyena"),
    ),
    "a newer version of what is kept": (
        lambda p: of_a_newer_version(p, "published.json", "published_version"),
        ("published.json", "version 9", "update hyena"),
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("to", ["hyena", "vortex"])
def test_a_broken_source_is_named_and_nothing_is_left(run: Run, tmp_path: Path, kind: str, to: str):
    make, parts = SOURCES[kind]
    source = make(tmp_path / "source")
    status, out, err = run("convert", source, tmp_path / "out", "--to", to)
    assert (status, out) == (2, "")
    assert err.startswith("hyena: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err
    assert [path.name for path in tmp_path.iterdir()] == ["source"], "nothing half-written, no code that ran"


@pytest.mark.parametrize("kind", SOURCES)
def test_a_broken_model_is_not_verified(run: Run, tmp_path: Path, kind: str):
    make, parts = SOURCES[kind]
    status, out, err = run("verify", make(tmp_path / "source"))
    assert (status, err) == (1, "")
    (wrong,) = [line for line in out.splitlines() if line.startswith("WRONG")]
    assert all(part in wrong for part in parts), wrong
    assert out.endswith("NOT VERIFIED\n")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_was_there_is_there_after_a_failure(run: Run, tmp_path: Path):
    assert run("convert", directory(tmp_path / "good", "sh2-lm"), tmp_path / "out").status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    source = directory(tmp_path / "bad", "sh2-lm", without("norm.scale"))
    assert run("convert", source, tmp_path / "out", "--overwrite").status == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m hyena` with these arguments."""
    command = [sys.executable, "-m", "hyena", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)


def test_a_checkpoint_for_fp8_is_one_line_of_warning_or_refused(tmp_path: Path):
    source = directory(tmp_path / "evo2_40b", "sh2-lm", use_fp8_input_projections=True)
    done = process("convert", source, tmp_path / "out")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hyena: warning: ")
    assert all(part in done.stderr for part in ("evo2_40b", "use_fp8_input_projections"))
    for place in (source, tmp_path / "out"):
        refused = process("convert", place, tmp_path / "strict", "--strict-precision")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("hyena: ")
        assert refused.stderr.count("\n") == 1
        assert "use_fp8_input_projections" in refused.stderr
        verified = process("verify", place, "--strict-precision")
        assert (verified.returncode, verified.stderr) == (1, "")
        assert "use_fp8_input_projections" in verified.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evo2_40b", "out"]


# --- there and back -----------------------------------------------------------------------------------------------------------


FORMATS = {
    "safari-lm": "safari",
    "safari-lm-attn": "safari",
    "hyenadna-lm-a": "hyenadna",
    "hyenadna-head": "hyenadna",
    "hyenadna-hf": "hyenadna-hf",
    "hyenadna-hf-cls": "hyenadna-hf",
    "sh1-lm": "stripedhyena",
    "sh1-lm-evo": "stripedhyena",
    "sh2-lm": "vortex",
    "sh2-lm-1m": "vortex",
}


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back_every_tensor_is_the_same(run: Run, tmp_path: Path, name: str):
    c, to = case(name), FORMATS[name]
    extras = {"blocks.0.projections._extra_state": torch.arange(9, dtype=torch.uint8)} if to == "vortex" else {}
    torch.save(c.state | extras, tmp_path / "weights.ckpt")
    (tmp_path / "config.json").write_text(json.dumps(c.config))
    line = ["--from", c.format, "--config", tmp_path / "config.json"]
    assert run("convert", tmp_path / "weights.ckpt", tmp_path / "ours", *line).status == 0
    drop = ["--drop", "tokenizer"] if to == "hyenadna" else []
    assert run("convert", tmp_path / "ours", tmp_path / "theirs", "--to", to, *drop).status == 0
    again, wanted = read_tensors(weights_file(tmp_path / "theirs")), c.state | extras
    if to == "hyenadna-hf":  # transformers saves a shared tensor once
        wanted = {key: tensor for key, tensor in wanted.items() if not key.endswith((".3.freq", ".5.freq"))}
    for key, tensor in wanted.items():
        found = again[key if key in again else f"model.{key}"]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape), key
        assert torch.equal(found, tensor), key
    assert len(again) == len(wanted)
