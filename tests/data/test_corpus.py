"""Files to tokens: text, FASTA, several of them, and the split."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from hyena.data import ByteTokenizer, Corpus, DNATokenizer, FileTokenizer, load_corpus
from hyena.errors import HyenaError

BYTES, DNA = ByteTokenizer(), DNATokenizer()


def write(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def test_text_is_its_bytes(tmp_path: Path):
    content = "naïve\n".encode() + bytes(range(256))
    path = write(tmp_path, "a.txt", content)
    corpus = load_corpus(path, BYTES)
    assert corpus.tokens.dtype == np.uint8
    assert corpus.tokens.tobytes() == content
    assert (len(corpus), corpus.source, corpus.notes) == (len(content), str(path), ())
    assert corpus.tokenizer is BYTES
    assert load_corpus(str(path), BYTES).tokens.tobytes() == content


def test_texts_are_joined_in_the_order_given(tmp_path: Path):
    one, two = write(tmp_path, "1", b"one"), write(tmp_path, "2", gzip.compress(b"two"))
    corpus = load_corpus([two, one], BYTES)
    assert corpus.tokens.tobytes() == b"twoone"
    assert corpus.source == f"{two}, {one}"


def test_dna_text_is_read_without_white_space(tmp_path: Path):
    corpus = load_corpus(write(tmp_path, "dna.txt", b"AC gt\r\nN\n"), DNA)
    assert DNA.decode(corpus.tokens) == "ACGTN"
    assert corpus.notes == ("dropped 4 white-space characters in dna.txt",)


def test_fasta_as_dna(tmp_path: Path):
    path = write(tmp_path, "x.fa", b">a\nACr\nYu\n>b\nGG\n")
    corpus = load_corpus(path, DNA)
    assert corpus.tokens.dtype == np.uint8
    assert corpus.tokens.tolist() == [7, 8, 11, 11, 10, DNA.sep_id, 9, 9]
    assert corpus.notes == (
        "read x.fa as FASTA, 2 record(s); its header lines are not part of the corpus",
        "replaced 2 ambiguity codes by N in x.fa",
    )


def test_fasta_as_bytes_keeps_the_letters(tmp_path: Path):
    corpus = load_corpus(write(tmp_path, "x.fa", b">a header\nACr\nY-\n>b\nMK*\n"), BYTES)
    assert corpus.tokens.tobytes() == b"ACrY-\nMK*"
    assert len(corpus.notes) == 1
    assert "header lines are not part" in corpus.notes[0]


def test_every_border_of_a_fasta_file_is_marked(tmp_path: Path):
    fasta, text = write(tmp_path, "x.fa", b">a\nA\n>b\nC\n"), write(tmp_path, "x.txt", b"GG")
    assert DNA.decode(load_corpus([fasta, fasta, text, text, fasta], DNA).tokens) == (
        "A[SEP]C[SEP]A[SEP]C[SEP]GGGG[SEP]A[SEP]C"
    )
    assert load_corpus([text, fasta, text], BYTES).tokens.tobytes() == b"GG\nA\nC\nGG"


def test_file_tokenizer_reads_text_and_fasta(tmp_path: Path, bpe_file: Path):
    tokenizer = FileTokenizer(str(bpe_file))
    corpus = load_corpus(write(tmp_path, "a.txt", "the café".encode()), tokenizer)
    assert corpus.tokens.dtype == np.uint16
    assert tokenizer.decode(corpus.tokens) == "the café"
    corpus = load_corpus(write(tmp_path, "x.fa", b">a\nAC\n>b\nGT\n"), tokenizer)
    assert tokenizer.decode(corpus.tokens) == "AC\nGT"
    with pytest.raises(HyenaError, match=r"bad\.txt: byte 0xff at position 1 is not UTF-8"):
        load_corpus(write(tmp_path, "bad.txt", b"a\xff"), tokenizer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is empty"),
        (b" \n", "x holds no token"),
        (b"ACXT", "x: b'X' at position 2"),
        (b">a\nACGT\n>b\nAC-T\n", "x, record 'b': '-' at position 2"),
        (b">a\n\n", "x, line 1: record 'a' has no sequence"),
    ],
)
def test_bad_dna_names_the_file(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(HyenaError, match=message):
        load_corpus(write(tmp_path, "x", content), DNA)


def test_no_file_and_missing_file(tmp_path: Path):
    with pytest.raises(HyenaError, match="no data file given"):
        load_corpus([], BYTES)
    with pytest.raises(HyenaError, match="none does not exist"):
        load_corpus(tmp_path / "none", BYTES)


def test_split_holds_out_the_end():
    corpus = Corpus(np.arange(10, dtype=np.uint8), BYTES, "here", ("a note",))
    train, held_out = corpus.split(0.3)
    assert train.tokens.tolist() == list(range(7))
    # 100 * 0.29 is a little less than 29 in floating point.
    assert len(Corpus(np.zeros(100), BYTES, "here").split(0.29)[1]) == 29
    assert held_out.tokens.tolist() == [7, 8, 9]
    assert (held_out.tokenizer, held_out.source, held_out.notes) == (BYTES, "here", ("a note",))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_fraction_is_between_0_and_1(fraction: float):
    with pytest.raises(HyenaError, match="between 0 and 1"):
        Corpus(np.arange(10), BYTES, "here").split(fraction)


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_split_of_too_few_tokens(fraction: float):
    with pytest.raises(HyenaError, match="10 tokens of here leaves a part with fewer than 2"):
        Corpus(np.arange(10), BYTES, "here").split(fraction)
