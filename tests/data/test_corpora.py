"""Training and held-out tokens: kept on disk or not, opened again without the sources, and never the same."""

import gzip
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyena.configs.data import DataConfig, RecallConfig
from hyena.data import (
    ByteTokenizer,
    Contents,
    Corpus,
    DNATokenizer,
    Tokens,
    corpora,
    hold_out_records,
    prepare,
    training_batch,
)
from hyena.data.corpus import Span
from tests.helpers import refused

BYTES, DNA = ByteTokenizer(), DNATokenizer()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a genome of three records, another, and texts."""
    monkeypatch.chdir(tmp_path)
    Path("genome.fa").write_bytes(b">chr1\nAAAAAAAA\n>chr2 second\nCCCCCC\n>chr3\nGGGGGGGG\n")
    Path("other.fa").write_bytes(b">x\nTTTTTTTT\n")
    Path("a.txt").write_bytes(b"the first text")
    Path("b.txt").write_bytes(b"the second text")
    return tmp_path


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest) -> Path | None:
    """Where the tokens are kept."""
    return Path("run/tokens") if request.param == "disk" else None


def letters(corpus: Corpus) -> str:
    """The text of a corpus."""
    return corpus.tokenizer.decode(corpus.tokens[:])


def test_by_fraction(home: Path, place: Path | None):
    training, held_out = corpora(DataConfig(("a.txt", "b.txt"), valid_fraction=0.2), BYTES, place)
    assert letters(training) == "the first text\nthe secon"
    assert letters(held_out) == "d text"
    assert isinstance(training.tokens, Tokens if place else np.ndarray)


def test_by_files(home: Path, place: Path | None):
    config = DataConfig(("genome.fa",), valid_files=("other.fa",), soft_mask="mask")
    training, held_out = corpora(config, DNA, place)
    assert letters(training) == "AAAAAAAA[SEP]CCCCCC[SEP]GGGGGGGG"
    assert letters(held_out) == "TTTTTTTT"


@pytest.mark.parametrize(
    ("names", "training", "held_out"),
    [
        (("chr1",), "CCCCCC[SEP]GGGGGGGG[SEP]TTTTTTTT", "AAAAAAAA"),
        (("chr2",), "AAAAAAAA[SEP]GGGGGGGG[SEP]TTTTTTTT", "CCCCCC"),
        (("x", "chr2"), "AAAAAAAA[SEP]GGGGGGGG", "CCCCCC[SEP]TTTTTTTT"),
        (("chr1", "chr2", "x"), "GGGGGGGG", "AAAAAAAA[SEP]CCCCCC[SEP]TTTTTTTT"),
    ],
)
def test_by_records(home: Path, place: Path | None, names: tuple[str, ...], training: str, held_out: str):
    both = corpora(DataConfig(("genome.fa", "other.fa"), valid_records=names), DNA, place)
    assert [letters(corpus) for corpus in both] == [training, held_out]


def test_records_of_prepared_tokens_and_of_files_alike(home: Path, place: Path | None):
    prepare("genome.fa", DNA, "genome")
    both = corpora(DataConfig(("other.fa", "genome"), valid_records=("chr2",)), DNA, place)
    assert [letters(corpus) for corpus in both] == ["TTTTTTTT[SEP]AAAAAAAA[SEP]GGGGGGGG", "CCCCCC"]
    if place:
        assert [path.name for path in place.iterdir()] == ["training-0"], "what is prepared is not copied"


def test_records_that_do_not_exist(home: Path, place: Path | None):
    with refused("'chr22'", "genome.fa", "did you mean 'chr2'"):
        corpora(DataConfig(("genome.fa",), valid_records=("chr1", "chr22")), DNA, place)
    with refused("'a.txt'", "no FASTA record"):
        corpora(DataConfig(("a.txt",), valid_records=("a.txt",)), BYTES, place and place / "text")
    with refused("chr1, chr2, chr3", "fewer than 2 tokens in a part"):
        corpora(DataConfig(("genome.fa",), valid_records=("chr1", "chr2", "chr3")), DNA, place)


def test_too_many_records_to_name(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.data.corpus.LISTED", 2)
    with refused("too many", "valid_files"):
        corpora(DataConfig(("genome.fa",), valid_records=("chr1",)), DNA)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=8), st.lists(st.integers(1, 60), max_size=3))
def test_no_window_reaches_what_is_held_out(records: list[tuple[int, bool]], borders: list[int]):
    """Every token is another one, so that a window shows where it comes from."""
    total = sum(size + 1 for size, _ in records) - 1
    spans, start = [], 0
    for i, (size, held) in enumerate(records):
        spans.append(Span(f"{'held' if held else 'kept'}{i}", start, size, True))
        start += size + 1
    contents = Contents("d", len(spans), tuple(spans))
    segments = np.split(np.arange(total), sorted(border for border in borders if border < total))
    corpus = Corpus(Tokens(segments, "d"), DNA, "here", contents=contents)
    names = [span.name for span in spans if span.name.startswith("held")]
    own: dict[bool, set[int]] = {False: set(), True: set()}
    for span in spans:
        own[span.name in names] |= set(range(span.start, span.start + span.tokens))
    if not names or not own[False] or min(map(len, own.values())) < 2:
        return
    training, held_out = hold_out_records(corpus, names)
    for part, held in ((training, False), (held_out, True)):
        tokens = part.tokens[:].tolist()
        assert own[held] <= set(tokens), "every letter is in its part"
        assert not own[not held] & set(tokens)
        assert len(set(tokens)) == len(tokens)
        assert tokens[-1] in own[held]
        assert tokens[0] in own[held]
    assert not set(training.tokens[:].tolist()) & set(held_out.tokens[:].tolist())
    length = min(3, len(training) - 1)
    windows = training_batch(training.tokens, length, 20, 0, 0)
    assert not set(windows.flat) & own[True]


@given(st.integers(4, 60), st.floats(0.05, 0.95), st.integers(1, 5))
def test_a_fraction_has_no_token_in_common_with_the_rest(count: int, fraction: float, length: int):
    corpus = Corpus(Tokens([np.arange(count)], "d"), DNA, "here")
    if min(round(count * fraction), count - round(count * fraction)) < 2:
        return
    training, held_out = corpus.split(fraction)
    assert [*training.tokens[:], *held_out.tokens[:]] == list(range(count))
    if len(training) > length:
        assert training_batch(training.tokens, length, 9, 0, 0).max() < len(training)


def test_the_same_file_in_both_is_an_error(home: Path, place: Path | None):
    os.link("a.txt", "linked.txt")
    Path("copy.txt.gz").write_bytes(gzip.compress(Path("a.txt").read_bytes()))
    Path("wrapped.fa").write_bytes(b">other name\nTTTT\nTTTT\n")
    prepare("a.txt", BYTES, "tokens")
    cases: list[tuple[str, str, Any]] = [
        ("a.txt", "a.txt", BYTES),
        ("a.txt", "linked.txt", BYTES),
        ("a.txt", "copy.txt.gz", BYTES),
        ("a.txt", "tokens", BYTES),
        ("tokens", "a.txt", BYTES),
        ("tokens", "tokens", BYTES),
        ("other.fa", "wrapped.fa", DNA),
    ]
    for file, valid, tokenizer in cases:
        with refused("files", "valid_files", "validate on what is not trained on", *({"a.txt"} & {file, valid})):
            corpora(DataConfig((file,), valid_files=(valid,)), tokenizer, place and place / f"{file}-{valid}")
    with refused("a.txt is given twice"):
        corpora(DataConfig(("a.txt", "b.txt", "a.txt")), BYTES, place)
    with refused("a.txt", "linked.txt", "the same file"):
        corpora(DataConfig(("b.txt",), valid_files=("a.txt", "linked.txt")), BYTES, place)


def test_the_same_long_record_in_both_is_an_error(home: Path, place: Path | None):
    long = b"ACGGT" * 200
    Path("all.fa").write_bytes(b">one\n" + long + b"\n>short\nACGT\n")
    Path("one.fa").write_bytes(b">short\nACGT\n>other\nGG\n>same\n" + long + b"\n")
    with refused("record 'one' of files", "'same' of valid_files", "valid_records"):
        corpora(DataConfig(("all.fa",), valid_files=("one.fa",)), DNA, place)
    Path("one.fa").write_bytes(b">short\nACGT\n>other\n" + long + b"A\n")
    _, held_out = corpora(DataConfig(("all.fa",), valid_files=("one.fa",)), DNA, place and place / "again")
    assert len(held_out) == 4 + 1 + 1001


def test_kept_tokens_are_opened_again_without_the_sources(home: Path):
    prepare("other.fa", BYTES, "prepared")
    config = DataConfig(("prepared", "a.txt"), valid_files=("b.txt",))
    told: list[tuple[int, int]] = []
    before = corpora(config, BYTES, "tokens", lambda *values: told.append(values))
    assert told[-1] == (15, 15)
    Path("a.txt").unlink()
    Path("b.txt").unlink()
    told.clear()
    again = corpora(config, BYTES, "tokens", lambda *values: told.append(values))
    assert told == []
    assert [letters(corpus) for corpus in again] == [letters(corpus) for corpus in before]
    assert [corpus.tokens.digest for corpus in again] == [corpus.tokens.digest for corpus in before]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"files": ("other.fa",)}, ("files", "genome.fa", "other.fa")),
        ({"soft_mask": "mask"}, ("policy", "'upper'", "'mask'")),
        ({"iupac": "n"}, ("policy", "'error'", "'n'")),
    ],
)
def test_kept_tokens_of_something_else(home: Path, changes: dict[str, Any], parts: tuple[str, ...]):
    corpora(DataConfig(("genome.fa",)), DNA, "tokens")
    with refused("tokens/training-0", *parts, "remove it"):
        corpora(DataConfig(**({"files": ("genome.fa",)} | changes)), DNA, "tokens")


def test_kept_tokens_of_another_tokenizer_or_of_files_that_changed(home: Path):
    config = DataConfig(("genome.fa",))
    corpora(config, DNA, "tokens")
    with refused("'dna'", "'bytes'"):
        corpora(config, BYTES, "tokens")
    Path("genome.fa").write_bytes(b">chr1\nACGT\n")
    with refused("genome.fa", "had 50 bytes", "has 11 now", "remove tokens/training-0"):
        corpora(config, DNA, "tokens")


def test_options_without_a_meaning_for_the_tokenizer(home: Path):
    with refused("reverse_complement", "'bytes'", "dna"):
        corpora(DataConfig(("a.txt",), reverse_complement=True), BYTES)
    with refused("iupac", "'bytes'"):
        corpora(DataConfig(("a.txt",), iupac="n"), BYTES)
    with refused("soft_mask", "'keep'"):
        corpora(DataConfig(("genome.fa",), soft_mask="keep"), DNA)
    with refused("recall"):
        corpora(DataConfig(recall=RecallConfig()), BYTES)
    assert not Path("tokens").exists()


def test_the_same_content_twice_among_the_files_is_refused(tmp_path: Path):
    """What is held out of one copy would be trained on in the other."""
    genome = b">a\n" + b"ACGTTGCA" * 200 + b"\n>b\n" + b"GATTACAC" * 200 + b"\n"
    (tmp_path / "g.fa").write_bytes(genome)
    (tmp_path / "copy.fa.gz").write_bytes(gzip.compress(genome))
    (tmp_path / "renamed.fa").write_bytes(genome.replace(b">b", b">z").replace(b"ACGTTGCA", b"ACGATGCA"))
    prepare([tmp_path / "g.fa"], DNATokenizer(), tmp_path / "prepared")
    for other in ("copy.fa.gz", "prepared"):
        config = DataConfig(files=(str(tmp_path / "g.fa"), str(tmp_path / other)))
        with refused("g.fa", "hold the same", "leave one"):
            corpora(config, DNATokenizer())
    config = DataConfig(files=(str(tmp_path / "g.fa"), str(tmp_path / "renamed.fa")), valid_records=("b",))
    with refused("record 'z'", "the same as 'b'", "hold out both"):
        corpora(config, DNATokenizer())
    assert len(corpora(replace(config, valid_records=("b", "z")), DNATokenizer())[1]) == 3201


def test_a_changed_byte_of_a_prepared_directory_is_seen_where_it_is_looked_for(tmp_path: Path):
    (tmp_path / "g.fa").write_text(">a\n" + 100 * "ACGT")
    prepare([tmp_path / "g.fa"], DNATokenizer(), tmp_path / "prepared")
    shard = next((tmp_path / "prepared").glob("*.bin"))
    content = bytearray(shard.read_bytes())
    content[50] = content[51]
    shard.write_bytes(content)
    config = DataConfig(files=(str(tmp_path / "prepared"),))
    with refused("prepared", "digest", "prepare them again"):
        corpora(config, DNATokenizer(), verify=True)
