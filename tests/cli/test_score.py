"""`hyena score` and `hyena embed`: what they write, and that a killed command goes on to the same bytes."""

import errno
import gzip
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import hyena
from hyena.cli import work as work_module
from hyena.cli.sizes import parse_bytes
from hyena.inference import windows as windows_module
from tests.cli.conftest import Run
from tests.helpers import refused

LETTERS = "ACGT"


def genome(path: Path, lengths: list[int]) -> list[str]:
    """A FASTA file of random records."""
    draw = np.random.default_rng(0)
    records = ["".join(LETTERS[i] for i in draw.integers(0, 4, length)) for length in lengths]
    path.write_text("".join(f">r{i} some words\n{record}\n" for i, record in enumerate(records)))
    return records


def rows(path: Path) -> list[list[str]]:
    """The cells of a table."""
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_records_as_a_whole(run: Run, models: Path, tmp_path: Path):
    records = genome(tmp_path / "a.fa", [20, 1, 33, 2])
    out = tmp_path / "scores.tsv"
    done = run("score", models / "dna", tmp_path / "a.fa", "--out", out)
    assert done.status == 0, done.err
    head, *found = rows(out)
    assert head == ["name", "tokens", "count", "total", "mean"]
    wanted = hyena.score(hyena.load(models / "dna"), records)
    for i, (row, score) in enumerate(zip(found, wanted, strict=True)):
        assert row[:3] == [f"r{i}", str(len(records[i])), str(score.count)]
        assert float(row[3]) == pytest.approx(score.total, abs=1e-4)
        assert float(row[4]) == pytest.approx(score.mean, abs=1e-5, nan_ok=True)
    assert not list(tmp_path.glob("*.partial"))


@torch.no_grad()
def test_windows_score_every_token_but_the_first_once(run: Run, models: Path, tmp_path: Path):
    (record,) = genome(tmp_path / "a.fa", [100])
    out, each = tmp_path / "scores.tsv", tmp_path / "each.npy"
    assert (
        run(
            "score", models / "dna", tmp_path / "a.fa", "--out", out, "--window", 16, "--context", 5, "--per-token", each
        ).status
        == 0
    )
    model, ids = hyena.load(models / "dna"), hyena.data.load_tokenizer("dna").encode(record)
    wanted = []
    for t in range(1, 100):
        start = 0 if t < 16 else (t - 16) // 11 * 11 + 11
        logits = model(torch.from_numpy(ids[start:t])[None])[0, -1].double().log_softmax(-1)
        wanted.append(float(logits[ids[t]]))
    np.testing.assert_allclose(np.load(each), wanted, atol=1e-5)
    assert rows(out)[1][2] == "99"
    assert float(rows(out)[1][3]) == pytest.approx(sum(wanted), abs=1e-3)


@pytest.mark.parametrize(
    ("length", "size", "context"), [(1, 8, 2), (0, 8, 2), (8, 8, 2), (9, 8, 2), (100, 8, 7), (50, 0, 0), (33, 16, 0)]
)
def test_windows_cover_a_record(length: int, size: int, context: int):
    found = list(windows_module.windows(length, size, context))
    assert [t for window in found for t in range(window.first, window.stop)] == list(range(1, length))
    assert all(window.stop - window.read <= (size or length) for window in found)
    assert all(window.first - window.read == context for window in found[1:])


def test_a_text_is_scored_line_by_line(run: Run, models: Path, tmp_path: Path):
    with gzip.open(tmp_path / "t.txt.gz", "wt") as file:
        file.write("one line\n\nthe last")
    out = tmp_path / "o.tsv"
    assert run("score", models / "bytes", tmp_path / "t.txt.gz", "--out", out, "--bos", 10).status == 0
    assert [row[:3] for row in rows(out)[1:]] == [["t.txt.gz:1", "8", "8"], ["t.txt.gz:2", "0", "0"], ["t.txt.gz:3", "8", "8"]]
    assert math.isnan(float(rows(out)[2][4]))


class StoppedError(Exception):
    """The machine is switched off."""


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the work stop after so many pieces."""
    append = work_module.Work.append

    def counted(self: work_module.Work, *values: object) -> None:
        if len(self.pieces) >= count:
            raise StoppedError
        append(self, *values)

    monkeypatch.setattr(work_module.Work, "append", counted)


@pytest.mark.parametrize("torn", [b"", b'[12, [["r0", 3', b"\x00\xff"])
def test_stopped_work_goes_on_to_the_same_bytes(
    torn: bytes, run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    genome(tmp_path / "a.fa", [100, 3, 40, 64])
    out, each = tmp_path / "o.tsv", tmp_path / "each.npy"
    command = ["score", models / "dna", tmp_path / "a.fa", "--out", out, "--window", 32, "--per-token", each]
    assert run(*command).status == 0
    whole = out.read_bytes(), each.read_bytes()
    out.unlink(), each.unlink()
    for count in (0, 2, 3):
        with monkeypatch.context() as patch:
            stop_after(count, patch)
            with pytest.raises(StoppedError):
                run(*command)
        assert not out.exists()
        assert not each.exists()
        with (tmp_path / "o.tsv.partial").open("ab") as file:
            file.write(torn)
        with (tmp_path / "each.npy.partial").open("ab") as file:
            file.write(torn)
    done = run(*command)
    assert done.status == 0, done.err
    assert "going on after 3 finished pieces" in done.err
    assert (out.read_bytes(), each.read_bytes()) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fa", "each.npy", "o.tsv"]


def test_other_work_does_not_go_on(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    genome(tmp_path / "a.fa", [100, 40])
    command = ["score", models / "dna", tmp_path / "a.fa", "--out", tmp_path / "o.tsv"]
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(StoppedError):
            run(*command, "--window", 16)
    done = run(*command, "--window", 20)
    assert done.status == 2
    assert "another window (16, now 20)" in done.err
    assert "--restart" in done.err
    genome(tmp_path / "a.fa", [101, 40])
    assert "another input" in run(*command, "--window", 16).err
    assert run(*command, "--window", 16, "--restart").status == 0
    assert rows(tmp_path / "o.tsv")[1][1] == "101"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_goes_on_to_the_same_bytes(models: Path, tmp_path: Path):
    genome(tmp_path / "a.fa", [60_000])
    command = [sys.executable, "-m", "hyena", "score", str(models / "dna"), str(tmp_path / "a.fa"), "--window", "32"]
    whole, killed = tmp_path / "whole.tsv", tmp_path / "killed.tsv"
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    process = subprocess.Popen([*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = tmp_path / "killed.tsv.partial"
    until = time.monotonic() + 60
    while (
        not (partial.exists() and partial.read_bytes().count(b"\n") > 20)
        and time.monotonic() < until
        and process.poll() is None
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists(), "it was too fast to be killed"
    pieces = partial.read_bytes().count(b"\n") - 1
    done = subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True, text=True)
    assert f"going on after {pieces} finished pieces" in done.stderr
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window", "64"], "the model reads 32"),
        (["--window", "8", "--context", "8"], "window is 8 and context 8"),
        (["--window", "0"], "record 'r0' has 50 tokens"),
        (["--bos", "16"], "bos is 16"),
        (["--max-memory", "much"], "max_memory is 'much'"),
        (["--max-memory", "10K"], "--max-memory"),
    ],
)
def test_what_cannot_be_scored_is_one_line(arguments: list[str], message: str, run: Run, models: Path, tmp_path: Path):
    genome(tmp_path / "a.fa", [50])
    done = run("score", models / "dna", tmp_path / "a.fa", "--out", tmp_path / "o.tsv", *arguments)
    assert done.status == 2
    assert message in done.err
    assert not (tmp_path / "o.tsv").exists()


def test_files_that_are_not_there(run: Run, models: Path, tmp_path: Path):
    genome(tmp_path / "a.fa", [5])
    assert "missing.fa" in run("score", models / "dna", tmp_path / "missing.fa", "--out", tmp_path / "o.tsv").err
    assert "no directory" in run("score", models / "dna", tmp_path / "a.fa", "--out", tmp_path / "no/o.tsv").err
    (tmp_path / "b.fa").write_text(">x\nACGT\n>y\nACZ\n")
    assert "record 'y'" in run("score", models / "dna", tmp_path / "b.fa", "--out", tmp_path / "o.tsv").err


def test_a_full_disk_names_the_cure(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    genome(tmp_path / "a.fa", [40])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(work_module.Work, "append", full)
    done = run("score", models / "dna", tmp_path / "a.fa", "--out", tmp_path / "o.tsv")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "No space left on device; make room and give the command again" in done.err


def test_what_is_read_is_never_replaced(run: Run, models: Path, tmp_path: Path):
    genome(tmp_path / "a.fa", [50])
    before = (tmp_path / "a.fa").read_bytes()
    weights = models / "dna" / "model.safetensors"
    os.mkfifo(tmp_path / "pipe")
    for outputs, message in {
        ("--out", tmp_path / "a.fa"): "is read by this command",
        ("--out", tmp_path / "o.tsv", "--per-token", weights): "is read by this command",
        ("--out", tmp_path): "is a directory",
        ("--out", tmp_path / "pipe"): "is a device or a pipe",
        ("--out", tmp_path / "o.tsv", "--per-token", tmp_path / "o.tsv"): "two outputs",
    }.items():
        done = run("score", models / "dna", tmp_path / "a.fa", *outputs)
        assert done.status == 2
        assert message in done.err
    assert (tmp_path / "a.fa").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fa", "pipe"]
    hyena.load(models / "dna")


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_embeddings(suffix: str, run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = genome(tmp_path / "a.fa", [20, 1, 32])
    out = tmp_path / f"o{suffix}"
    command = ["embed", models / "dna", tmp_path / "a.fa", "--out", out, "--layer", "0", "--pool", "last"]
    with monkeypatch.context() as patch:
        stop_after(0, patch)
        with pytest.raises(StoppedError):
            run(*command)
    assert not out.exists()
    done = run(*command)
    assert done.status == 0, done.err
    found = np.load(out)
    if suffix == ".npz":
        assert found["names"].tolist() == ["r0", "r1", "r2"]
        found = found["embeddings"]
    wanted = hyena.embed(hyena.load(models / "dna"), records, 0, "last")
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fa", out.name]


def test_embeddings_that_cannot_be(run: Run, models: Path, tmp_path: Path):
    genome(tmp_path / "a.fa", [50])
    for out, extra, message in (("o.txt", [], ".npz"), ("o.npy", [], "max_length"), ("o.npy", ["--layer", "7"], "layer is 7")):
        done = run("embed", models / "dna", tmp_path / "a.fa", "--out", tmp_path / out, *extra)
        assert done.status == 2
        assert message in done.err


def test_bytes_as_people_write_them():
    assert [parse_bytes(text, "x") for text in ("5", "1K", "2GiB", "1.5 M", "3gb")] == [5, 1024, 2**31, 3 * 2**19, 3 * 2**30]
    for bad in ("", "0", "-1", "1X", "two"):
        with refused("x is", "2G"):
            parse_bytes(bad, "x")
