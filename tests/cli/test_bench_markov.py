"""`hyena bench markov`: the numbers of `hyena.bench.markov`, for people and for programs."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from hyena.bench.markov import markov
from hyena.data import load_corpus, load_tokenizer, prepare
from tests.cli.conftest import Run
from tests.training.runs import TEXT


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """A small genome."""
    path = tmp_path / "genome.fa"
    path.write_text(">a\n" + 20 * "ACGTTGCA" + "\n")
    return path


def plain(found: object) -> object:
    """As JSON gives it back."""
    return json.loads(json.dumps(asdict(found)))


def test_json(run: Run, models: Path):
    line = ["bench", "markov", "--data", models / "text.txt", "--orders", "3", "0", "--valid-fraction", "0.2", "--json"]
    status, out, _ = run(*line, "--smoothing", "0.5", "--mix")
    assert status == 0
    expected = markov(load_corpus(models / "text.txt", load_tokenizer("bytes")), [3, 0], 0.2, 0.5, mix=True)
    about = {"data": str(models / "text.txt"), "tokenizer": "bytes", "valid_fraction": 0.2}
    assert json.loads(out) == about | plain(expected)
    assert expected.orders[0].mix_nats_per_token is not None


def test_fasta_is_dna_unless_said_otherwise(run: Run, fasta: Path):
    line = ["bench", "markov", "--data", fasta, "--orders", "1", "--json"]
    status, out, err = run(*line)
    assert status == 0
    assert (json.loads(out)["tokenizer"], json.loads(out)["symbols"]) == ("dna", 4)
    assert "read genome.fa as FASTA" in err
    assert json.loads(run(*line, "--tokenizer", "bytes").out)["tokenizer"] == "bytes"


def test_folders_and_prepared_tokens(run: Run, fasta: Path):
    prepare(fasta, load_tokenizer("dna"), fasta.parent / "tokens")
    (fasta.parent / "folder").mkdir()
    (fasta.parent / "folder/same.fa").write_text(fasta.read_text())
    found = []
    for place in (fasta, fasta.parent / "folder", fasta.parent / "tokens"):
        status, out, err = run("bench", "markov", "--data", place, "--orders", "0", "2", "--json")
        assert status == 0, err
        found.append(json.loads(out))
    assert [one["tokenizer"] for one in found] == ["dna", "dna", "dna"]
    assert found[0]["orders"] == found[1]["orders"] == found[2]["orders"]


def test_data_by_policy(run: Run, tmp_path: Path):
    (tmp_path / "genome.fa").write_text(">a\n" + 10 * "ACGTacgtR\n")
    line = ["bench", "markov", "--data", tmp_path / "genome.fa", "--orders", "0", "--json"]
    status, out, err = run(*line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "'R' at position 9" in err
    upper, masked = (json.loads(run(*line, "--iupac", "n", "--soft-mask", mask).out) for mask in ("upper", "mask"))
    assert upper["orders"] != masked["orders"]
    (tmp_path / "lines.jsonl").write_text(json.dumps({"body": 40 * "ab"}) + "\n")
    line[3] = tmp_path / "lines.jsonl"
    assert json.loads(run(*line, "--text-field", "body").out)["tokens"] == 8 - 1


@pytest.mark.parametrize("mix", [False, True])
def test_for_people(run: Run, models: Path, mix: bool):
    flags = ["--mix"] if mix else []
    status, out, err = run("bench", "markov", "--data", models / "text.txt", "--orders", "0", "2", *flags)
    assert status == 0
    assert "order 3/3" in err
    found = markov(load_corpus(models / "text.txt", load_tokenizer("bytes")), [0, 2], mix=mix)
    first, head, *rows = out.splitlines()
    assert f"{len(TEXT) - 90:,} tokens counted, 89 predicted" in first
    assert ("mixture" in head) is mix
    for row, o in zip(rows, found.orders, strict=True):
        numbers = [str(o.order), f"{o.contexts:,}", f"{o.nats_per_token:.4f}", f"{o.bits_per_token:.4f}"]
        if mix:
            numbers += [f"{o.mix_nats_per_token:.4f}", f"{o.mix_bits_per_token:.4f}", f"{o.concentration:g}"]
        assert row.split() == numbers


LINES = {
    "no data": ("", ("--data", "hyena bench markov --help")),
    "an empty list": ("--data", ("no data file", "at least one")),
    "a missing file": ("--data nowhere.txt", ("nowhere.txt", "does not exist")),
    "an order": ("--data {models}/text.txt --orders 900", ("order 900", "810 training tokens")),
    "no order": ("--data {models}/text.txt --orders", ("no order", "at least one")),
    "a fraction": ("--data {models}/text.txt --valid-fraction 2", ("2.0", "between 0 and 1")),
    "a tokenizer": ("--data {models}/text.txt --tokenizer dno", ("'dno'", "did you mean 'dna'")),
    "no DNA": ("--data {models}/text.txt --tokenizer dna", ("text.txt", "'h' at position 2")),
    "a smoothing": ("--data {models}/text.txt --smoothing 0", ("smoothing", "0.0", "above 0")),
    "an option": ("--data {models}/text.txt --order 3", ("--order", "--orders")),
}


@pytest.mark.parametrize("name", LINES)
def test_what_cannot_be_measured_is_one_line(run: Run, models: Path, name: str):
    line, parts = LINES[name]
    status, out, err = run("bench", "markov", *line.replace("{models}", str(models)).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in parts), err
