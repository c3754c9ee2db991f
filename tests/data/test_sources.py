"""What a path stands for: folders in order, kinds by content, and what is refused."""

import bz2
import gzip
import os
from pathlib import Path

import pytest

from hyena.data.sources import find_sources
from tests.helpers import refused


def fill(folder: Path, *names: str) -> Path:
    """Files with a word in them, below a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"word", mtime=0) if name.endswith(".gz") else b"word")
    return folder


def names(folder: Path) -> list[str]:
    """What a folder stands for."""
    return [str(source.path.relative_to(folder)) for source in find_sources(folder)[0]]


def test_a_folder_is_walked_in_sorted_order(tmp_path: Path):
    fill(tmp_path, "b.txt", "a/z.md", "a/B.TXT", "a.fa", "c.jsonl.gz", "a/.hidden.txt", ".git/x.txt", "notes.csv", "d.gz", "e")
    assert names(tmp_path) == ["a/B.TXT", "a/z.md", "a.fa", "b.txt", "c.jsonl.gz"]
    assert find_sources(tmp_path)[1] == [f"left out 3 of 8 files in {tmp_path}: .csv, .gz, no ending"]


@pytest.mark.parametrize("ending", ["txt", "text", "md", "jsonl", "fa", "fasta", "fna", "ffn", "frn", "fas"])
@pytest.mark.parametrize("packed", ["", ".gz", ".xz", ".bz2"])
def test_the_endings_that_a_folder_is_read_for(tmp_path: Path, ending: str, packed: str):
    (tmp_path / f"x.{ending}{packed}").write_bytes(b"word")
    (source,) = find_sources(tmp_path)[0]
    assert (source.named, source.bytes, source.kind) == (False, 4, "jsonl" if ending == "jsonl" else "text")
    assert find_sources(tmp_path)[1] == []


def test_a_linked_folder_is_left_out_and_counted(tmp_path: Path):
    fill(tmp_path, "data/a.txt", "elsewhere/b.txt")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    assert names(tmp_path / "data") == ["a.txt"]
    assert "linked folder" in find_sources(tmp_path / "data")[1][0]


def test_folders_without_anything_to_read(tmp_path: Path):
    with refused(tmp_path, "no file", ".fasta"):
        find_sources(tmp_path)
    fill(tmp_path, "a.csv", ".b.txt")
    with refused(tmp_path, "only files that are not read (.csv)", ".txt"):
        find_sources(tmp_path)
    with refused("no data file given"):
        find_sources([])


def test_a_named_file_is_read_whatever_its_ending(tmp_path: Path):
    fill(tmp_path, "a.csv", ".b")
    assert [source.named for source in find_sources([tmp_path / "a.csv", tmp_path / ".b"])[0]] == [True, True]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x", b"\n >a\nACGT", "fasta"),
        ("x.txt.bz2", bz2.compress(b">a\nACGT"), "fasta"),
        ("x.txt", b"\xef\xbb\xbf\n>a\nACGT", "fasta"),
        ("x.fa", b"ACGT", "text"),
        ("x.fa", b"\xef\xbb\xbfACGT", "text"),
        ("x.md", b"> a quotation", "text"),
        ("x.jsonl", b'{"text": ""}', "jsonl"),
        ("X.JSONL.GZ", gzip.compress(b"", mtime=0), "jsonl"),
        ("x", b"", "text"),
        ("x.txt", b"@alice wrote\nlines\n+ more\nand more\n", "text"),
        ("x.txt", b"@alice", "text"),
    ],
)
def test_kinds(tmp_path: Path, name: str, content: bytes, kind: str):
    (tmp_path / name).write_bytes(content)
    (source,) = find_sources(tmp_path / name)[0]
    assert source.kind == kind


@pytest.mark.parametrize(
    "content", [b"@r\nACGTN\n+\nIIIII\n", gzip.compress(b"@r 1\r\nACGT\r\n+r 1\r\n@@@@\r\n@r 2\r\n", mtime=0)]
)
def test_fastq_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "reads.txt").write_bytes(content)
    with refused("reads.txt is FASTQ", "seqtk"):
        find_sources(tmp_path)


def test_an_archive_within_a_compressed_file_is_refused(tmp_path: Path):
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(gzip.compress(b"word"), mtime=0))
    with refused("x.txt.gz", "compressed twice"):
        find_sources(tmp_path)


def test_a_file_given_twice_is_named(tmp_path: Path):
    fill(tmp_path, "d/a.txt", "d/b.txt")
    one = tmp_path / "d/a.txt"
    with refused(f"{one} is given twice"):
        find_sources([one, one])
    with refused(one, "is given twice"):
        find_sources([tmp_path / "d", one])
    (tmp_path / "link.txt").symlink_to(one)
    os.link(one, tmp_path / "hard.txt")
    for name in ("link.txt", "hard.txt"):
        with refused(one, tmp_path / name, "the same file"):
            find_sources([one, tmp_path / name])
