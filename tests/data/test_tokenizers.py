"""Exact ids, round trips and refusals of the three tokenizers, and their names."""

import lzma
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.data import ByteTokenizer, DNATokenizer, FileTokenizer, Tokenizer, load_tokenizer
from hyena.errors import HyenaError

BYTES, DNA = ByteTokenizer(), DNATokenizer()


@given(st.text())
def test_bytes_round_trip(text: str):
    ids = BYTES.encode(text)
    assert ids.dtype == np.int64
    assert BYTES.decode(ids) == text
    assert BYTES.byte_length(ids) == len(ids) == len(text.encode())


@given(st.binary())
def test_bytes_are_their_own_ids(content: bytes):
    assert BYTES.encode(content).tolist() == list(content)
    assert BYTES.to_bytes(list(content)) == content
    assert BYTES.decode(list(content)) == content.decode(errors="replace")


def test_a_lone_surrogate_is_refused():
    with pytest.raises(HyenaError, match=r"'\\udc80' at position 1"):
        BYTES.encode("a\udc80")


def test_dna_vocabulary_is_the_published_one():
    names = ["[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", "A", "C", "G", "T", "N"]
    assert [DNA.decode([i]) for i in range(12)] == names
    special = (DNA.cls_id, DNA.sep_id, DNA.bos_id, DNA.mask_id, DNA.pad_id, DNA.reserved_id, DNA.unk_id)
    assert special == (0, 1, 2, 3, 4, 5, 6)
    assert DNA.vocab_size == 12
    assert DNA.legal_ids is not None
    assert DNA.decode(DNA.legal_ids) == "ACGT"


@pytest.mark.parametrize("text", ["ACGTNacgtn", b"ACGTNacgtn"])
def test_dna_ids_fold_case(text: str | bytes):
    ids = DNA.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == [7, 8, 9, 10, 11] * 2
    assert DNA.decode(ids) == "ACGTNACGTN"


def test_dna_reads_ten_bytes_and_no_other():
    legal = [byte for byte in range(256) if byte in b"ACGTNacgtn"]
    for byte in range(256):
        if byte not in legal:
            with pytest.raises(HyenaError, match="not a DNA letter"):
                DNA.encode(bytes([byte]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ACGU", "'U' at position 3"),
        ("AéC", "'é' at position 1"),
        ("A\udc80", r"'\\udc80' at position 1"),
        (b"A\xffC", r"b'\\xff' at position 1"),
    ],
)
def test_dna_error_names_character_position_and_letters(text: str | bytes, message: str):
    with pytest.raises(HyenaError, match=message + ".*A, C, G, T and N"):
        DNA.encode(text)


def test_dna_byte_length_counts_letters_only():
    assert DNA.byte_length([DNA.cls_id, 7, 11, DNA.sep_id, DNA.pad_id]) == 2


@pytest.mark.parametrize("tokenizer", [BYTES, DNA])
def test_nothing_is_nothing(tokenizer: Tokenizer):
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""
    assert tokenizer.byte_length([]) == 0


@pytest.mark.parametrize("tokenizer", [BYTES, DNA])
def test_ids_out_of_range_are_refused(tokenizer: Tokenizer):
    for bad in (-1, tokenizer.vocab_size):
        for method in (tokenizer.decode, tokenizer.byte_length):
            with pytest.raises(HyenaError, match=f"id {bad} at position 1 is outside"):
                method([7, bad])
    with pytest.raises(HyenaError, match=r"shape \(1, 2\)"):
        tokenizer.decode(np.array([[7, 8]]))
    with pytest.raises(HyenaError, match="float64"):
        tokenizer.decode(np.array([7.0]))


def test_load_by_name():
    assert isinstance(load_tokenizer("bytes"), ByteTokenizer)
    assert isinstance(load_tokenizer("dna"), DNATokenizer)
    assert all(isinstance(tokenizer, Tokenizer) for tokenizer in (BYTES, DNA))


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("DNA", "mean 'dna'"),
        ("byte", "mean 'bytes'"),
        ("tokenizer.json", "mean 'file:tokenizer.json'"),
        ("gpt2", r"json\)$"),
        ("file:", r"json\)$"),
    ],
)
def test_unknown_name_lists_the_three_forms(spec: str, hint: str):
    with pytest.raises(HyenaError, match="'bytes', 'dna' or 'file:NAME'.*" + hint):
        load_tokenizer(spec)


def test_file_tokenizer_round_trip(bpe_file: Path):
    tokenizer = load_tokenizer("file:bpe.json", bpe_file.parent)
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.spec, tokenizer.legal_ids) == ("file:bpe.json", None)
    text = "the naïve café, <end> the end 🧬"
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_length(ids) == len(text.encode()) > len(ids)
    assert tokenizer.encode(text.encode()).tolist() == ids.tolist()
    assert ids.max() < tokenizer.vocab_size
    assert tokenizer.encode("").shape == (0,)


def test_file_tokenizer_adds_cuts_and_pads_nothing(bpe_file: Path):
    tokenizers = pytest.importorskip("tokenizers")
    raw = tokenizers.Tokenizer.from_file(str(bpe_file))
    raw.post_processor = tokenizers.processors.TemplateProcessing("$A <end>", special_tokens=[("<end>", 0)])
    raw.enable_truncation(4)
    raw.enable_padding(length=100)
    raw.save(str(bpe_file))
    tokenizer = FileTokenizer(str(bpe_file))
    text = "abcdefghijk"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([0]) == "<end>"


def test_file_tokenizer_with_gaps_between_ids(tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path / "gaps.json.xz"
    model = tokenizers.models.WordLevel({"a": 0, "b": 5}, unk_token="a")
    path.write_bytes(lzma.compress(tokenizers.Tokenizer(model).to_str().encode()))
    tokenizer = FileTokenizer(str(path))
    assert (tokenizer.vocab_size, tokenizer.legal_ids) == (6, (0, 5))
    with pytest.raises(HyenaError, match="id 6 at position 0"):
        tokenizer.decode([6])


def test_directory_comes_first_and_is_not_a_must(
    bpe_file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(bpe_file.parent)
    assert FileTokenizer("bpe.json", elsewhere).path == Path("bpe.json")
    (elsewhere / "bpe.json").write_bytes(bpe_file.read_bytes())
    assert FileTokenizer("bpe.json", elsewhere).path == elsewhere / "bpe.json"
    with pytest.raises(HyenaError, match=r"elsewhere.*none\.json does not exist"):
        FileTokenizer("none.json", elsewhere)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"plain words"])
def test_damaged_tokenizer_file(tmp_path: Path, content: bytes):
    pytest.importorskip("tokenizers")
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(HyenaError, match=r"bad\.json is not a tokenizer\.json") as caught:
        load_tokenizer("file:bad.json", tmp_path)
    assert "\n" not in str(caught.value)


def test_file_tokenizer_wants_utf8(bpe_file: Path):
    with pytest.raises(HyenaError, match="byte 0xff at position 2 is not UTF-8"):
        FileTokenizer(str(bpe_file)).encode(b"ab\xff")


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(HyenaError, match=r"pip install 'hyena\[text\]'"):
        load_tokenizer("file:any.json")
