"""From a file to a trained directory that can be moved: a genome, and text in byte pairs."""

import gzip
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

import hyena
from hyena.configs.data import Policy
from hyena.data import DNATokenizer, FileTokenizer, load_corpus, load_tokenizer
from hyena.training import evaluate, train
from tests.training.runs import MODEL, TEXT, ctrl_c, tiny

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize("packed", [False, True])
def test_a_genome_that_repeats_itself_is_learned(tmp_path: Path, packed: bool):
    # Lower case, an ambiguity code and two records: what real files hold.
    content = (">chr1 a repeat\n" + 150 * "ACGgtca\n" + ">chr2\nR" + 60 * "ACGgtca\n").encode()
    path = tmp_path / ("genome.fa.gz" if packed else "genome.fa")
    path.write_bytes(gzip.compress(content) if packed else content)
    notes: list[str] = []
    config = tiny(tmp_path / "run", path, vocab_size=12, tokenizer="dna", vocab_multiple=8, steps=60, lr=2e-2, iupac="n")
    result = train(config, note=notes.append)
    assert any("2 record" in note for note in notes)
    assert any("1 ambiguity" in note for note in notes)
    assert any("upper" in note for note in notes)
    assert result.valid is not None
    # The repeat is known from its third letter on; bits per base of an unknown genome would be near 2.
    assert result.valid.bits_per_byte < 0.7
    model = hyena.load(tmp_path / "run")
    tokenizer = DNATokenizer()
    ids = torch.from_numpy(tokenizer.encode("ACGGTCA"))[None]
    text = tokenizer.decode(hyena.generate(model, ids, 14, temperature=0.0, allowed=tokenizer.legal_ids)[0])
    assert text == 3 * "ACGGTCA"
    assert (
        evaluate(model, load_corpus(path, tokenizer, Policy(iupac="n")).split(0.1)[1].tokens, tokenizer, 32, 2) == result.valid
    )


def bpe_run(tmp_path: Path, text: Path, bpe: Path):
    """A run on the tokenizer's own vocabulary."""
    size = FileTokenizer(str(bpe)).vocab_size
    return tiny(tmp_path / "run", text, vocab_size=size, tokenizer=f"file:{bpe}", steps=30)


def test_byte_pairs_travel_with_the_model(tmp_path: Path, text: Path, bpe_file: Path, monkeypatch: pytest.MonkeyPatch):
    result = train(bpe_run(tmp_path, text, bpe_file))
    assert (tmp_path / "run/bpe.json").read_bytes() == bpe_file.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere/moved")
    bpe_file.unlink()
    monkeypatch.chdir("/")
    model = hyena.load(moved)
    assert model.tokenizer_file is not None
    tokenizer = load_tokenizer(f"file:{model.tokenizer_file.name}", model.tokenizer_file.parent)
    held_out = load_corpus(text, tokenizer).split(0.1)[1].tokens
    assert evaluate(model, held_out, tokenizer, 32, 2) == result.valid
    prompt = torch.from_numpy(tokenizer.encode("the quick"))[None]
    longer = tokenizer.decode(hyena.generate(model, prompt, 4, seed=0)[0])
    assert longer.startswith("the quick")
    # And it can be saved on from there.
    model.save(tmp_path / "copy")
    assert (tmp_path / "copy/bpe.json").is_file()
    assert hyena.load(tmp_path / "copy").tokenizer_file == tmp_path / "copy/bpe.json"


def test_byte_pairs_are_accounted_in_bytes(tmp_path: Path, text: Path, bpe_file: Path):
    result = train(bpe_run(tmp_path, text, bpe_file))
    assert result.valid is not None
    tokenizer = FileTokenizer(str(bpe_file))
    held_out = load_corpus(text, tokenizer).split(0.1)[1].tokens
    size = len(tokenizer.decode(held_out[1:]).encode())
    assert size > len(held_out), "the tokens must be longer than bytes"
    bits = result.valid.nats_per_token * (len(held_out) - 1) / math.log(2)
    assert result.valid.bits_per_byte == pytest.approx(bits / size)


def test_a_run_in_byte_pairs_resumes(tmp_path: Path, text: Path, bpe_file: Path):
    config = bpe_run(tmp_path, text, bpe_file)
    assert train(config, report=ctrl_c(10)).steps == 10
    assert train(config, resume=True).finished


def test_without_a_name_the_tokenizer_is_bytes_and_the_directory_says_so(tmp_path: Path, text: Path):
    config = tiny(tmp_path / "run", text, tokenizer=None)
    train(config)
    assert hyena.load(tmp_path / "run").config.tokenizer == "bytes"
    assert json.loads((tmp_path / "run/config.json").read_text())["model"]["tokenizer"] == "bytes"


def test_a_hybrid_without_a_grid_trains(tmp_path: Path, text: Path):
    result = train(tiny(tmp_path / "run", text, pattern="AW", length=48, steps=40))
    assert result.valid is not None
    assert result.valid.nats_per_token < math.log(len(set(TEXT)))
    assert hyena.load(tmp_path / "run").config.to_dict() == MODEL.replace(pattern="AW").to_dict()
