"""Tokens on disk are those in memory, whole or not there, and damage is one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyena.configs.data import Policy
from hyena.data import ByteTokenizer, Corpus, DNATokenizer, FileTokenizer, load_corpus, open_tokens, prepare, shards
from hyena.data.shards import Shards
from tests.helpers import refused

BYTES, DNA = ByteTokenizer(), DNATokenizer()
FASTA = b">a\nACGTACGTAC\n>b\nGG\n>c\nACGTA\n"


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    """Three records."""
    (tmp_path / "genome.fa").write_bytes(FASTA)
    return tmp_path / "genome.fa"


def damaged(directory: Path, **changes: Any) -> None:
    """Change keys of an index."""
    index = json.loads((directory / "index.json").read_text())
    (directory / "index.json").write_text(json.dumps(index | changes))


def test_on_disk_as_in_memory(tmp_path: Path, genome: Path):
    here = load_corpus(genome, DNA)
    corpus = prepare(genome, DNA, tmp_path / "tokens", shard_bytes=7)
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == [
        "index.json",
        *(f"tokens-0000{i}.bin" for i in range(3)),
    ]
    for found in (corpus, open_tokens(tmp_path / "tokens"), open_tokens(tmp_path / "tokens", DNA, verify=True)):
        assert found.tokens[:].tolist() == here.tokens.tolist()
        assert (found.notes, found.contents, found.source) == (here.notes, here.contents, str(genome))
        assert isinstance(found.tokenizer, DNATokenizer)
        assert here.contents is not None
        assert found.tokens.digest == here.contents.digest


def test_one_shard_is_used_without_a_copy(tmp_path: Path, genome: Path):
    tokens = prepare(genome, DNA, tmp_path / "tokens").tokens
    assert np.shares_memory(tokens[0:5], tokens[0:19])
    assert not tokens[0:5].flags.writeable


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=8),
    st.integers(4, 40),
    st.sampled_from([np.uint8, np.uint16, np.uint32]),
)
def test_shards_hold_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_bytes: int, dtype: type
):
    directory = tmp_path_factory.mktemp("shards")
    whole = np.arange(sum(sizes), dtype=dtype)
    writer = Shards(directory, np.dtype(dtype), shard_bytes)
    for piece in np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []:
        writer.write(piece)
    writer.close()
    files = [directory / shards.shard_name(i) for i in range(len(writer.counts))]
    assert all(0 < file.stat().st_size <= shard_bytes for file in files)
    assert b"".join(file.read_bytes() for file in files) == whole.astype(whole.dtype.newbyteorder("<")).tobytes()
    assert sum(writer.counts) == len(whole)


def test_the_digest_does_not_depend_on_the_shards(tmp_path: Path, genome: Path):
    digests = {prepare(genome, DNA, tmp_path / str(size), shard_bytes=size).tokens.digest for size in (1, 5, 1 << 30)}
    assert len(digests) == 1


def test_progress_ends_with_all(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(bytes(3_000_000))
    (tmp_path / "b.txt").write_bytes(b"word")
    told: list[tuple[int, int]] = []
    prepare([tmp_path / "a.txt", tmp_path / "b.txt"], BYTES, tmp_path / "tokens", report=lambda *values: told.append(values))
    assert told[-1] == (3_000_004, 3_000_004)
    assert len(told) >= 3
    assert told == sorted(told)


def test_a_tokenizer_file_comes_along(tmp_path: Path, bpe_file: Path):
    (tmp_path / "a.txt").write_text("the end of the café")
    tokenizer = FileTokenizer(str(bpe_file))
    prepare(tmp_path / "a.txt", tokenizer, tmp_path / "tokens")
    moved = bpe_file.rename(tmp_path / "other.json")
    corpus = open_tokens(tmp_path / "tokens")
    assert corpus.tokens.dtype == np.uint16
    assert corpus.tokenizer.decode(corpus.tokens[:]) == "the end of the café"
    open_tokens(tmp_path / "tokens", FileTokenizer(str(moved)))
    with refused(tmp_path / "tokens", "'file:tokenizer.json'", "'bytes'"):
        open_tokens(tmp_path / "tokens", BYTES)
    moved.write_text(moved.read_text() + " ")
    with refused("prepared with tokenizer"):
        open_tokens(tmp_path / "tokens", FileTokenizer(str(moved)))


def test_many_documents_are_counted_and_not_listed(tmp_path: Path, genome: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.data.corpus.LISTED", 2)
    contents = prepare(genome, DNA, tmp_path / "tokens").contents
    assert contents is not None
    assert (contents.count, contents.documents) == (3, ())


def test_a_prepared_directory_is_read_in_place(tmp_path: Path, genome: Path):
    (tmp_path / "a.txt").write_bytes(b"TT")
    (tmp_path / "b.txt").write_bytes(b"CC")
    prepare(genome, DNA, tmp_path / "tokens")
    corpus = load_corpus([tmp_path / "a.txt", tmp_path / "tokens", tmp_path / "b.txt"], DNA)
    assert DNA.decode(corpus.tokens[:]) == "TT[SEP]ACGTACGTAC[SEP]GG[SEP]ACGTA[SEP]CC"
    assert corpus.contents is not None
    for span in corpus.contents.documents:
        letters = DNA.decode(corpus.tokens[span.start : span.start + span.tokens])
        assert letters == {"a": "ACGTACGTAC", "b": "GG", "c": "ACGTA"}.get(span.name, letters)
        assert "[" not in letters
    assert len(corpus.contents.documents) == corpus.contents.count == 5
    with refused(tmp_path / "tokens", "prepared tokens already"):
        prepare(tmp_path / "tokens", DNA, tmp_path / "again")
    with refused(tmp_path / "tokens", "given twice"):
        load_corpus([tmp_path / "tokens", tmp_path / "tokens"], DNA)
    with refused("'dna'", "'bytes'"):
        load_corpus(tmp_path / "tokens", BYTES)
    with refused("prepared with soft_mask 'upper', not 'mask'"):
        load_corpus(tmp_path / "tokens", DNA, Policy("mask"))


def test_joined_by_line_ends_where_there_is_none(tmp_path: Path):
    for name, text in (("a", b"one\n"), ("b", b"two"), ("c", b"three")):
        (tmp_path / f"{name}.txt").write_bytes(text)
        prepare(tmp_path / f"{name}.txt", BYTES, tmp_path / name)
    assert load_corpus([tmp_path / name for name in "abc"], BYTES).tokens[:].tobytes() == b"one\ntwo\nthree"


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path, genome: Path):
    prepare(genome, DNA, tmp_path / "tokens")
    with refused(tmp_path / "tokens", "already holds prepared tokens", "another"):
        prepare(genome, DNA, tmp_path / "tokens")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    for place in ("other", "genome.fa"):
        with refused(tmp_path / place, "already holds something else"):
            prepare(genome, DNA, tmp_path / place)
    (tmp_path / "empty").mkdir()
    assert len(prepare(genome, DNA, tmp_path / "empty")) == 19
    with refused("shard_bytes is 0"):
        prepare(genome, DNA, tmp_path / "none", shard_bytes=0)
    with refused("cannot write to", "another directory"):
        prepare(genome, DNA, genome / "tokens")


@pytest.mark.parametrize("content", [b">a\nACGT\n>b\nAC!T\n", b">a\nACGT\n>b\nACET\n", b""])
def test_bad_input_leaves_nothing_behind(tmp_path: Path, content: bytes):
    (tmp_path / "x.fa").write_bytes(content)
    with refused("x.fa"):
        prepare(tmp_path / "x.fa", DNA, tmp_path / "tokens")
    assert [path.name for path in tmp_path.iterdir()] == ["x.fa"]


KILLED = """
    import os, signal, sys
    from hyena.data import DNATokenizer, prepare, shards
    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace = kill
    prepare(sys.argv[1], DNATokenizer(), sys.argv[2])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_kill_before_the_rename_leaves_no_directory_and_the_next_run_cleans_up(tmp_path: Path, genome: Path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(genome), str(tmp_path / "tokens")]
    done = subprocess.run(command, check=False, timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    left = [path for path in tmp_path.iterdir() if path != genome]
    assert [path.name.startswith(".tokens.") for path in left] == [True]
    assert (left[0] / "index.json").exists(), "all was written and not yet in its place"
    with refused("no prepared tokens"):
        open_tokens(tmp_path / "tokens")
    living = tmp_path / left[0].name.replace(left[0].name.split(".")[-2], str(os.getppid()))
    shutil.copytree(left[0], living)
    assert len(prepare(genome, DNA, tmp_path / "tokens")) == 19
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["genome.fa", "tokens", living.name])


def stored(tmp_path: Path, genome: Path) -> Path:
    """A directory of three shards."""
    prepare(genome, DNA, tmp_path / "tokens", shard_bytes=7)
    return tmp_path / "tokens"


def test_damage_is_one_line(tmp_path: Path, genome: Path):
    directory = stored(tmp_path, genome)
    shard = directory / "tokens-00001.bin"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with refused(shard, "6 bytes in place of 7"):
        open_tokens(directory)
    shard.write_bytes(content[:-1] + b"\x00")
    assert isinstance(open_tokens(directory), Corpus)
    with refused(directory, "digest", "prepare"):
        open_tokens(directory, verify=True)
    shard.unlink()
    with refused(shard, "does not exist"):
        open_tokens(directory)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"version": 2}, ("version 2", "update hyena")),
        ({"version": None}, ("version None",)),
        ({"shards": None}, ("index.json is damaged", "shards")),
        ({"digest": 3}, ("index.json is damaged", "digest")),
        ({"dtype": "float"}, ("index.json is damaged", "dtype")),
        ({"shards": ["7"]}, ("index.json is damaged", "shards")),
        ({"documents": [3]}, ("index.json is damaged", "documents")),
        ({"tokenizer": {"spec": "words"}}, ("unknown tokenizer 'words'",)),
    ],
)
def test_an_index_that_is_not_ours(tmp_path: Path, genome: Path, changes: dict[str, Any], parts: tuple[str, ...]):
    directory = stored(tmp_path, genome)
    damaged(directory, **changes)
    with refused(*parts):
        open_tokens(directory)


def test_what_is_no_directory_of_tokens(tmp_path: Path, genome: Path):
    for place in (tmp_path, genome, tmp_path / "nowhere"):
        with refused(place, "no prepared tokens", "hyena prepare"):
            open_tokens(place)
    directory = stored(tmp_path, genome)
    content = (directory / "index.json").read_text()
    (directory / "index.json").write_text(content[:-20])
    with refused("index.json is not valid JSON"):
        open_tokens(directory)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].__setitem__(1, "x"),
        lambda rows: rows[1].__setitem__(1, 0),
        lambda rows: rows[1].__setitem__(2, 10**6),
        lambda rows: rows.pop(),
        lambda rows: rows[0].append(3),
    ],
    ids=["a word for a start", "overlapping", "past the end", "one missing", "a cell too many"],
)
def test_documents_that_cannot_be_are_a_damaged_index(tmp_path: Path, change: Callable[[list], object]):
    (tmp_path / "g.fa").write_text(">a\nACGTACGT\n>b\nGATTACA\n")
    prepare([tmp_path / "g.fa"], DNATokenizer(), tmp_path / "prepared")
    index = json.loads((tmp_path / "prepared/index.json").read_text())
    change(index["documents"])
    (tmp_path / "prepared/index.json").write_text(json.dumps(index))
    with refused("index.json", "damaged", "documents", "prepare the files again"):
        open_tokens(tmp_path / "prepared")
