"""`hyena train`: a file, changes on the command line, presets, resuming, Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hyena
from hyena.cli.train import configuration
from hyena.configs.files import read_toml
from hyena.configs.runs import run_config
from hyena.training import record, saves
from tests.cli.conftest import Run, write_toml
from tests.training.runs import assert_same_weights, before_step, saved_step


def steps_of(directory: Path) -> list[int]:
    """The steps in metrics.jsonl."""
    return [line["step"] for line in record.read_metrics(directory)]


def test_a_file_and_nothing_else(run: Run, tmp_path: Path):
    pytest.importorskip("matplotlib")
    status, out, err = run("train", write_toml(tmp_path))
    assert status == 0
    assert out == f"model and metrics: {tmp_path}/run\nloss curve: {tmp_path}/run/loss.png\n"
    assert "step 3: held out" in err
    assert "step 6: held out" in err
    assert "nats/token" in err
    assert "bits/byte" in err
    assert "step 6/6" in err
    assert hyena.load(tmp_path / "run").config.vocab_size == 256, "left out, it is the tokenizer's"


def test_without_matplotlib_the_line_says_how_to_get_the_curve(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, _ = run("train", write_toml(tmp_path))
    assert status == 0
    assert "loss curve: not drawn (pip install 'hyena[report]')" in out


@pytest.mark.usefixtures("undrawn")
def test_changes_on_the_command_line(run: Run, tmp_path: Path):
    path = write_toml(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("another text, which is short but long enough for two windows of letters")
    line = f"--training.steps 2 --model.pattern HA --model.mixers.H.order 3 --optimizer.filter-lr 1e-3 --directory {tmp_path}/x"
    line += f" --data.files {path.parent}/text.txt {other} --model.no-tied --model.beyond extend --model.mlp-width None"
    assert run("train", path, *line.split(" ")).status == 0
    values = read_toml(tmp_path / "x/run.toml")
    assert values["training"]["steps"] == 2
    assert values["training"]["batch_size"] == 2, "from the file"
    assert values["optimizer"] | {"lr": 1e-2, "filter_lr": 1e-3} == values["optimizer"]
    assert values["data"]["files"] == [f"{path.parent}/text.txt", str(other)]
    model = hyena.load(tmp_path / "x").config
    assert (model.pattern, model.mixers.H.order, model.tied, model.beyond, model.hidden) == ("HA", 3, False, "extend", 64)
    assert model.mixers.H.filter.width == 8, "from the file"
    assert steps_of(tmp_path / "x") == [1, 2]
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_on_the_command_line_is_taken(tmp_path: Path):
    config = configuration(str(write_toml(tmp_path)), ["--model.vocab-size", "300"])
    assert config.model.vocab_size == 300


@pytest.mark.usefixtures("undrawn")
def test_dna_without_a_vocabulary(run: Run, tmp_path: Path):
    path = write_toml(tmp_path, {'tokenizer = "bytes"': 'tokenizer = "dna"', "text.txt": "genome.fa"})
    (tmp_path / "genome.fa").write_text(">a\n" + 90 * "GATTACA")
    status, _, err = run("train", path)
    assert status == 0
    assert "read genome.fa as FASTA, 1 record(s)" in err
    model = hyena.load(tmp_path / "run").config
    assert (model.vocab_size, model.tokenizer) == (12, "dna")
    status, out, _ = run("generate", tmp_path / "run", "--prompt", "GATTA", "--max-new-tokens", "20", "--temperature", "5")
    assert status == 0
    assert len(out) == 26
    assert set(out.strip()) <= set("ACGT")
    # The tokenizer may change on the command line; the vocabulary follows.
    assert configuration(str(path), ["--model.tokenizer", "bytes"]).model.vocab_size == 256


@pytest.mark.usefixtures("undrawn")
def test_a_preset_with_changes(run: Run, tmp_path: Path):
    path = write_toml(tmp_path, {"text.txt": "genome.fa"})
    text = path.read_text()
    head, rest = text.split("[model]")
    model = '[model]\npreset = "hyenadna_tiny_1k"\nmax_length = 32\nwidth = 16\n\n[data]'
    path.write_text(head + model + rest.split("[data]")[1])
    (tmp_path / "genome.fa").write_text(">a\n" + 90 * "GATTACA")
    assert run("train", path, "--training.steps", 2).status == 0
    expected = hyena.presets.hyenadna_tiny_1k().replace(max_length=32, width=16)
    assert hyena.load(tmp_path / "run").config.to_dict() == expected.to_dict()


def test_the_file_means_the_same_with_and_without_the_command_line(tmp_path: Path):
    path = write_toml(tmp_path, {"width = 16\nmax": "vocab_size = 256\nwidth = 16\nmax"})
    assert configuration(str(path), []) == run_config(read_toml(path), str(path))


@pytest.mark.usefixtures("undrawn")
def test_resume_and_overwrite(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_toml(tmp_path)
    with monkeypatch.context() as patch:
        before_step(patch, 3, lambda _: signal.raise_signal(signal.SIGINT))
        status, out, err = run("train", path)
    assert (status, out) == (130, "")
    assert "stopped by SIGINT after step 3 and saved; go on with --resume" in err
    assert steps_of(tmp_path / "run") == [1, 2, 3]

    status, _, err = run("train", path)
    assert status == 2
    assert "--resume" in err
    assert "--overwrite" in err

    status, _, err = run("train", path, "--resume")
    assert status == 0
    assert f"resuming {tmp_path}/run at step 3" in err
    assert steps_of(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
    assert run("train", path, "--directory", tmp_path / "whole").status == 0
    assert_same_weights(tmp_path / "run", tmp_path / "whole")

    status, _, err = run("train", path, "--resume", "--training.steps", "9")
    assert status == 2
    assert "training.steps: 6 then, 9 now" in err
    assert run("train", "--overwrite", path, "--training.steps", "2").status == 0, "the flags may stand anywhere"
    assert steps_of(tmp_path / "run") == [1, 2]


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_to_a_process(name: str, status: int, tmp_path: Path):
    """A real signal from outside: the step in hand is finished and saved, and the status is a shell's for it."""
    path = write_toml(tmp_path)
    command = [sys.executable, "-m", "hyena", "train", str(path), "--training.log-every", "5"]
    command += [word for name in ("steps", "save-every", "valid-every") for word in (f"--training.{name}", "1000000")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "run/metrics.jsonl").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.Signals[name])
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == status
    assert out == ""
    step = saved_step(tmp_path / "run")
    assert err.splitlines()[-1] == f"stopped by {name} after step {step} and saved; go on with --resume"
    assert steps_of(tmp_path / "run")[-1] == step - step % 5
    assert not list((tmp_path / "run").rglob(".*"))
    # An unfinished run's directory stands for its newest checkpoint.
    assert_same_weights(tmp_path / "run", saves.path_of(tmp_path / "run", step))


def test_the_run_file_starts_the_same_run(run: Run, tmp_path: Path):
    run("train", write_toml(tmp_path), "--training.steps", "1", "--optimizer.clip", "0.5")
    values = read_toml(tmp_path / "run/run.toml")
    assert set(values) == {"hyena", "directory", "model", "data", "optimizer", "training"}
    for place in ("run", "run/run.toml"):
        config = configuration(str(tmp_path / place), [])
        assert (config.training.steps, config.optimizer.clip) == (1, 0.5)
    status, _, err = run("train", tmp_path / "run", "--resume")
    assert status == 0
    assert f"resuming {tmp_path}/run at step 1" in err
