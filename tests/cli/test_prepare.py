"""`hyena prepare`: tokens once on disk, named in trainings after that."""

from pathlib import Path

import pytest

from hyena.data import DNATokenizer, open_tokens
from tests.cli.conftest import Run, write_toml
from tests.cli.test_errors import assert_one_line


def test_a_genome(run: Run, tmp_path: Path):
    (tmp_path / "genome.fa").write_text(">a\nACGTRac\n>b\nGG\n")
    line = f"prepare {tmp_path}/genome.fa --out {tmp_path}/tokens --tokenizer dna --iupac n --soft-mask mask"
    status, out, err = run(*line.split(" "))
    assert status == 0
    corpus = open_tokens(tmp_path / "tokens", verify=True)
    assert DNATokenizer().decode(corpus.tokens[:]) == "ACGTNNN[SEP]GG"
    assert "tokens     10\ndocuments  2\n" in out
    assert corpus.tokens.digest in out
    assert f'files = ["{tmp_path}/tokens"]' in out
    assert "replaced 2 lower-case (soft-masked) letters by N in genome.fa" in err
    assert "byte 17/17" in err


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_is_then_trained_on(run: Run, tmp_path: Path):
    path = write_toml(tmp_path, {"text.txt": "tokens"})
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.jsonl").write_text('{"body": "some text of a document"}\n' * 20)
    line = ["prepare", tmp_path / "texts", tmp_path / "text.txt", "--out", tmp_path / "tokens", "--text-field", "body"]
    assert run(*line).status == 0
    assert run("train", path).status == 0


def test_bad_input(run: Run, tmp_path: Path):
    (tmp_path / "x.fa").write_text(">a\nACGR\n")
    out = ["--out", tmp_path / "tokens"]
    refused = run("prepare", tmp_path / "x.fa", *out, "--tokenizer", "dna")
    assert_one_line(refused, "x.fa", "'a'", "'R' at position 4", "--iupac n")
    assert_one_line(run("prepare", tmp_path / "x.fa", *out, "--tokenizer", "dns"), "'dns'", "did you mean 'dna'")
    assert_one_line(run("prepare", tmp_path / "x.fa", *out, "--soft-mask", "lower"), "--soft-mask", "'lower'")
    assert_one_line(run("prepare", tmp_path / "x.fa"), "--out")
    assert_one_line(run("prepare", *out), "no data file", "at least one")
    assert not (tmp_path / "tokens").exists()
