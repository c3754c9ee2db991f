"""`hyena verify`: a line a check, a verdict, and exit status 1 where anything is wrong."""

import json
from pathlib import Path

from hyena.checkpoints import convert
from tests.checkpoints.golden import case
from tests.checkpoints.test_striped import directory
from tests.cli.conftest import Run

SH2 = case("sh2-lm")


def test_a_model_is_verified(run: Run, tmp_path: Path):
    convert(directory(tmp_path / "source", "sh2-lm"), tmp_path / "ours")
    status, out, err = run("verify", tmp_path / "ours")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["ok     configuration", "ok     tensors", "ok     known input"]
    assert lines[-1] == f"{tmp_path / 'ours'}: verified"
    assert run("verify", tmp_path / "ours", "--against", SH2.folder / "io.safetensors").status == 0
    assert "note   known input" in run("verify", tmp_path / "source").out


def test_a_damaged_model_is_not(run: Run, tmp_path: Path):
    convert(directory(tmp_path / "source", "sh2-lm"), tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x40
    file.write_bytes(content)
    status, out, err = run("verify", tmp_path / "ours")
    assert (status, err) == (1, "")
    assert "WRONG" in out
    assert out.endswith("NOT VERIFIED\n")
    file.unlink()
    assert run("verify", tmp_path / "ours").status == 1


def test_the_cures_are_options_of_the_command(run: Run, tmp_path: Path):
    status, out, _ = run("verify", SH2.weights)
    assert status == 1
    assert "--from" in out
    status, out, _ = run("verify", SH2.weights, "--from", "vortex")
    assert status == 1
    assert "--config" in out
    (tmp_path / "config.json").write_text(json.dumps(SH2.config))
    assert run("verify", SH2.weights, "--from", "vortex", "--config", tmp_path / "config.json").status == 0


def test_a_reference_that_is_not_there_is_bad_input(run: Run, tmp_path: Path):
    status, out, err = run("verify", tmp_path, "--against", tmp_path / "none.safetensors")
    assert (status, out) == (2, "")
    assert "none.safetensors does not exist" in err


def test_strict_precision_fails(run: Run, tmp_path: Path):
    path = directory(tmp_path / "source", "sh2-lm", use_fp8_input_projections=True)
    assert "note   precision" in run("verify", path).out
    status, out, _ = run("verify", path, "--strict-precision")
    assert status == 1
    assert "use_fp8_input_projections" in out
    refused = run("convert", path, tmp_path / "out", "--strict-precision")
    assert refused.status == 2
    assert "use_fp8_input_projections" in refused.err
    assert not (tmp_path / "out").exists()
