"""`hyena evaluate`: the numbers of `hyena.evaluate`, for people and for programs."""

import gzip
import json
import lzma
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

import hyena
from hyena.data import ByteTokenizer, DNATokenizer, load_corpus
from hyena.models.backbone import Backbone
from hyena.training import evaluate_positions, train
from tests.cli.conftest import Run
from tests.cli.test_errors import assert_one_line
from tests.training.runs import TEXT, tiny


def evaluated(directory: Path, file: Path, tokenizer: object, *sizes: int) -> dict[str, float]:
    """What the library says."""
    return asdict(hyena.evaluate(hyena.load(directory), load_corpus(file, tokenizer).tokens, tokenizer, *sizes))


def test_json_is_one_object_of_numbers(run: Run, models: Path):
    status, out, _ = run("evaluate", models / "bytes", "--data", models / "text.txt", "--json")
    assert status == 0
    values = json.loads(out)
    assert list(values) == ["nats_per_token", "perplexity", "bits_per_byte", "tokens", "accuracy"]
    assert values == evaluated(models / "bytes", models / "text.txt", ByteTokenizer())
    assert values["tokens"] == len(TEXT) - 1


def test_the_sizes_are_passed_on(run: Run, models: Path):
    line = ["evaluate", models / "bytes", "--data", models / "text.txt", "--json", "--length", "7", "--batch-size", "3"]
    values = json.loads(run(*line).out)
    assert values == evaluated(models / "bytes", models / "text.txt", ByteTokenizer(), 7, 3)
    assert values != evaluated(models / "bytes", models / "text.txt", ByteTokenizer())


def test_the_batch_is_as_large_as_asked(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: set[int] = set()
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, ids: (sizes.add(len(ids)), forward(self, ids))[1])
    run("evaluate", models / "bytes", "--data", models / "text.txt", "--length", "29", "--batch-size", "5")
    assert sizes == {5, 1}  # 899 = 31 * 29


def test_for_people(run: Run, models: Path):
    status, out, err = run("evaluate", models / "bytes", "--data", models / "text.txt")
    values = evaluated(models / "bytes", models / "text.txt", ByteTokenizer())
    assert status == 0
    rows = dict(line.split() for line in out.splitlines())
    assert rows == {name: str(value) if name == "tokens" else f"{value:.4f}" for name, value in values.items()}
    assert f"token {len(TEXT) - 1}/{len(TEXT) - 1}" in err


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_several_files_one_after_the_other(run: Run, models: Path, tmp_path: Path, pack: object):
    (tmp_path / "one").write_bytes(pack(TEXT[:400].encode()))
    (tmp_path / "two").write_text(TEXT[400:])
    (tmp_path / "both").write_text(TEXT[:400] + "\n" + TEXT[400:])
    together = run("evaluate", models / "bytes", "--data", tmp_path / "one", tmp_path / "two", "--json").out
    assert json.loads(together) == evaluated(models / "bytes", tmp_path / "both", ByteTokenizer())


def test_notes_on_the_data_do_not_mix_with_json(run: Run, models: Path, tmp_path: Path):
    fasta = tmp_path / "genome.fa"
    fasta.write_text(">a\n" + 20 * "ACGTa" + "\n>b\nACGT\n")
    status, out, err = run("evaluate", models / "dna", "--data", fasta, "--json")
    assert status == 0
    assert json.loads(out) == evaluated(models / "dna", fasta, DNATokenizer())
    assert "read genome.fa as FASTA, 2 record(s)" in err
    assert "read 20 lower-case (soft-masked) letters as upper case" in err


def test_a_training_run_is_evaluated_as_it_was_validated(run: Run, tmp_path: Path):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "valid.txt").write_text(TEXT[:300])
    result = train(tiny(tmp_path / "run", tmp_path / "text.txt", valid_files=(str(tmp_path / "valid.txt"),)))
    assert result.valid is not None
    line = ["evaluate", tmp_path / "run", "--data", tmp_path / "valid.txt", "--json", "--batch-size", "2"]
    assert json.loads(run(*line).out) == asdict(result.valid)


def test_only_what_a_training_held_out(run: Run, tmp_path: Path):
    (tmp_path / "text.txt").write_text(TEXT)
    result = train(tiny(tmp_path / "run", tmp_path / "text.txt", valid_fraction=0.2))
    line = ["evaluate", tmp_path / "run", "--data", tmp_path / "text.txt", "--json", "--batch-size", "2", "--last"]
    assert json.loads(run(*line, "0.2").out) == asdict(result.valid)
    assert_one_line(run(*line, "1.5"), "1.5", "between 0 and 1")


def test_dna_by_policy(run: Run, models: Path, tmp_path: Path):
    (tmp_path / "genome.fa").write_text(">a\n" + 10 * "ACGTacgtR\n")
    line = ["evaluate", models / "dna", "--data", tmp_path / "genome.fa", "--json"]
    assert_one_line(run(*line), "'R' at position 9", "--iupac n")
    upper, masked = (run(*line, "--iupac", "n", "--soft-mask", mask) for mask in ("upper", "mask"))
    assert (upper.status, masked.status) == (0, 0)
    assert json.loads(upper.out) != json.loads(masked.out)
    assert_one_line(run(*line, "--soft-mask", "keep"), "soft_mask", "'keep'")


def test_the_loss_at_each_position(run: Run, models: Path, tmp_path: Path):
    line = ["evaluate", models / "bytes", "--data", models / "text.txt", "--length", "20", "--positions"]
    status, out, err = run(*line, tmp_path / "loss.png", "--json")
    assert status == 0
    drawn = find_spec("matplotlib") is not None
    assert {path.name for path in tmp_path.iterdir()} == {"loss.json", *(["loss.png"] if drawn else [])}
    values = json.loads((tmp_path / "loss.json").read_text())
    figures = json.loads(out)
    assert {name: values[name] for name in figures} == figures, "the numbers of the command itself are there too"
    tokens = load_corpus(models / "text.txt", ByteTokenizer()).tokens
    _, positions = evaluate_positions(hyena.load(models / "bytes"), tokens, ByteTokenizer(), 20)
    assert {name: values[name] for name in positions.to_dict()} == json.loads(json.dumps(positions.to_dict()))
    assert len(values["nats"]) == 20
    assert str(tmp_path / "loss.json") in err


def test_positions_into_a_directory_without_the_extra(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = run("evaluate", models / "bytes", "--data", models / "text.txt", "--positions", tmp_path)
    assert status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["positions.json"]
    assert "not drawn (pip install 'hyena[report]')" in err


def test_a_place_that_is_not_there_is_said_before_the_work(run: Run, models: Path, tmp_path: Path):
    line = ["evaluate", models / "bytes", "--data", models / "text.txt", "--positions", tmp_path / "nowhere" / "x"]
    status, out, err = run(*line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{tmp_path / 'nowhere'} is no directory" in err
