"""Files to tokens: text, FASTA, several of them, and the split."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from hyena.configs.data import Policy
from hyena.data import ByteTokenizer, Corpus, DNATokenizer, FileTokenizer, Tokens, load_corpus
from hyena.errors import HyenaError
from tests.helpers import refused

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


def test_texts_are_joined_in_the_order_given_by_line_ends(tmp_path: Path):
    one, two, three = (
        write(tmp_path, "1", b"one"),
        write(tmp_path, "2", gzip.compress(b"two\n")),
        write(tmp_path, "3", b"three"),
    )
    corpus = load_corpus([two, one, three], BYTES)
    assert corpus.tokens.tobytes() == b"two\none\nthree", "where there is a line end already none is added"
    assert corpus.source == f"{two}, {one}, {three}"


def test_dna_text_is_read_without_white_space(tmp_path: Path):
    corpus = load_corpus(write(tmp_path, "dna.txt", b"AC gu\r\nN\n"), DNA)
    assert DNA.decode(corpus.tokens) == "ACGTN"
    assert corpus.notes == (
        "read 2 lower-case (soft-masked) letters as upper case in dna.txt",
        "read 1 U as T in dna.txt",
        "dropped 4 white-space characters in dna.txt",
    )


def test_fasta_as_dna(tmp_path: Path):
    path = write(tmp_path, "x.fa", b">a\nACr\nYu\n>b\nGG\n")
    corpus = load_corpus(path, DNA, Policy(iupac="n"))
    assert corpus.tokens.dtype == np.uint8
    assert corpus.tokens.tolist() == [7, 8, 11, 11, 10, DNA.sep_id, 9, 9]
    assert corpus.notes == (
        "read x.fa as FASTA, 2 record(s); its header lines are not part of the corpus",
        "read 2 lower-case (soft-masked) letters as upper case in x.fa",
        "read 1 U as T in x.fa",
        "replaced 2 ambiguity codes by N in x.fa",
    )
    assert corpus.contents is not None
    assert [span[:4] for span in corpus.contents.documents] == [("a", 0, 5, True), ("b", 6, 2, True)]
    assert [(path, size) for path, size, _ in corpus.contents.sources] == [(str(path), 16)]


@pytest.mark.parametrize(
    ("policy", "expected"), [(Policy(), b"ACRY-\nMK*"), (Policy("keep"), b"ACrY-\nMk*")], ids=["upper", "keep"]
)
def test_fasta_as_bytes_keeps_the_letters(tmp_path: Path, policy: Policy, expected: bytes):
    corpus = load_corpus(write(tmp_path, "x.fa", b">a header\nACr\nY-\n>b\nMk*\n"), BYTES, policy)
    assert corpus.tokens.tobytes() == expected
    assert len(corpus.notes) == 1 + (policy.soft_mask == "upper")
    assert "header lines are not part" in corpus.notes[0]


def test_a_mask_is_for_dna_also_as_bytes(tmp_path: Path):
    path = write(tmp_path, "x.fa", b">a\nACgtA\n")
    assert load_corpus(path, BYTES, Policy("mask")).tokens.tobytes() == b"ACNNA"
    assert DNA.decode(load_corpus(path, DNA, Policy("mask")).tokens) == "ACNNA"
    with pytest.raises(HyenaError, match="record 'a': 'K' at position 2"):
        load_corpus(write(tmp_path, "y.fa", b">a\nAK\n"), BYTES, Policy("mask"))


def test_every_border_is_marked(tmp_path: Path):
    fastas = [write(tmp_path, f"{i}.fa", b">a\nA\n>b\nC\n") for i in range(2)]
    texts = [write(tmp_path, f"{i}.txt", b"GG") for i in range(2)]
    assert DNA.decode(load_corpus([fastas[0], *texts, fastas[1]], DNA).tokens) == ("A[SEP]C[SEP]GG[SEP]GG[SEP]A[SEP]C")
    assert load_corpus([texts[0], fastas[0], texts[1]], BYTES).tokens.tobytes() == b"GG\nA\nC\nGG"


def test_lines_of_jsonl_are_documents(tmp_path: Path):
    lines = b'{"text": "one", "id": 1}\n\n{"text": "na\\u00efve\\n"}\r\n{"text": ""}\n{"text": "three"}'
    corpus = load_corpus(write(tmp_path, "x.jsonl", lines), BYTES)
    assert corpus.tokens.tobytes() == "one\nnaïve\nthree".encode()
    assert corpus.notes == ("left out 1 empty document(s) in x.jsonl",)
    assert corpus.contents is not None
    assert [span.name for span in corpus.contents.documents] == [f"{tmp_path}/x.jsonl:{i}" for i in (1, 3, 5)]
    dna = write(tmp_path, "dna.jsonl.gz", gzip.compress(b'{"seq": "AC"}\n{"seq": "gt"}\n'))
    assert DNA.decode(load_corpus(dna, DNA, Policy(text_field="seq")).tokens) == "AC[SEP]GT"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "line 2 is not valid JSON"),
        (b'["a"]', "line 2 holds no object but a list"),
        (b'{"body": "a", "id": 1}', "line 2 has no key 'text', its keys: 'body', 'id'; .*--text-field"),
        (b'{"text": 3}', "line 2: the key 'text' holds no text but a int"),
        (b'{"text": "\\ud800"}', r"line 2: '\\ud800' at character 1 of 'text'"),
        (b"\xff", "line 2 is not valid JSON"),
        (b"[" * 100_000, "line 2 is not valid JSON"),
    ],
    ids=["cut", "list", "key", "number", "surrogate", "bytes", "deep"],
)
def test_a_bad_line_of_jsonl_is_named(tmp_path: Path, line: bytes, message: str):
    with pytest.raises(HyenaError, match=f"x.jsonl, {message}") as caught:
        load_corpus(write(tmp_path, "x.jsonl", b'{"text": "a"}\n' + line), BYTES)
    assert "\n" not in str(caught.value)


def test_empty_files_of_a_folder_are_left_out_and_counted(tmp_path: Path):
    for name, content in (("a.txt", b""), ("b.txt", b"word"), ("c.txt", b""), ("d.jsonl", b"")):
        write(tmp_path, name, content)
    corpus = load_corpus(tmp_path, BYTES)
    assert corpus.tokens.tobytes() == b"word"
    assert corpus.notes == ("left out 3 empty document(s) in a.txt and 2 more file(s)",)
    (tmp_path / "b.txt").write_bytes(b"")
    with refused(tmp_path, "no token"):
        load_corpus(tmp_path, BYTES)


def test_an_end_of_text_token_separates_documents(tmp_path: Path, bpe_file: Path):
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(bpe_file))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(bpe_file))
    end = FileTokenizer(str(bpe_file))
    write(tmp_path, "d.jsonl", b'{"text": "the end\\n"}\n{"text": "a word"}')
    corpus = load_corpus(tmp_path / "d.jsonl", end)
    assert end.decode(corpus.tokens) == "the end\n</s>a word"
    assert corpus.notes == ("documents are separated by the tokenizer's </s>",)
    assert end.byte_length(corpus.tokens) == len("the end\na word")


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
        (b"AC X\nT", r"x: 'X' at position 3 \(the first is 1\)"),
        (b">a\nACGT\n>b\nAC\n-T\n", "x, record 'b': '-' at position 3"),
        (b">a\nACGT\n>b\nAC\nRT\n", "x, record 'b': 'R' at position 3 .*--iupac n"),
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
    lazy = Corpus(Tokens([np.arange(4), np.arange(4, 10)], "d"), BYTES, "here")
    assert [part.tokens[:].tolist() for part in lazy.split(0.3)] == [list(range(7)), [7, 8, 9]]
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
