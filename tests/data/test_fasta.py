"""FASTA as it is met in the wild."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyena.data import Record, fasta, is_fasta, read_fasta
from hyena.errors import HyenaError
from tests.helpers import refused


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "sequence.fa"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_records_of_plain_and_packed_files(tmp_path: Path, pack: Callable[[bytes], bytes]):
    path = write(tmp_path, pack(b">chr1 first  one\nACGT\nacgtn\n>chr2\nNNRY-*\n"))
    assert list(read_fasta(path)) == [
        Record("chr1", "first  one", b"ACGTacgtn"),
        Record("chr2", "", b"NNRY-*"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b">a b\r\nAC\r\nGT\r\n",
        b"\n\n>a b\n\nAC\n\n\nGT\n\n",
        b"\xef\xbb\xbf>a b\nACGT\n",
        b">a b\nACGT",
        b"> a\tb\n  AC  \nGT\t\n",
    ],
)
def test_line_ends_blank_lines_and_margins(tmp_path: Path, content: bytes):
    assert list(read_fasta(write(tmp_path, content))) == [Record("a", "b", b"ACGT")]


@pytest.mark.parametrize("content", [b">a\rACGT\r>b\rGG\r", b">a\rACGT\n", b">x\nGG\n>a\rACGT\r"])
def test_carriage_returns_alone_are_named(tmp_path: Path, content: bytes):
    with refused("sequence.fa, line", "record 'a'", "carriage return alone", r"tr '\r' '\n'"):
        list(read_fasta(write(tmp_path, content)))


def test_headers_may_be_empty_or_latin1(tmp_path: Path):
    names = [(record.name, record.description) for record in read_fasta(write(tmp_path, b">\nA\n>caf\xe9 x\nC\n"))]
    assert names == [("", ""), ("caf\ufffd", "x")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no FASTA record"),
        (b"\n \n", "has no FASTA record"),
        (b"ACGT\n>a\nACGT\n", "line 1: text before the first '>'"),
        (b">a\n\n>b\nACGT\n", "line 1: record 'a' has no sequence"),
        (b">a\nACGT\n>b\n\n", "line 3: record 'b' has no sequence"),
        (b">a\nACGT\nAC1T\n", "line 3: '1' in the sequence of record 'a'"),
        (b">a\nAC GT\n", "line 2: ' ' in the sequence"),
        (b">a\nAC\xc3T\n", "line 2: 'Ã' in the sequence"),
    ],
)
def test_malformed_files_are_named_with_line_and_record(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(HyenaError, match=rf"sequence\.fa.*{message}"):
        list(read_fasta(write(tmp_path, content)))


def test_records_stream_before_a_later_fault(tmp_path: Path):
    records = read_fasta(write(tmp_path, b">a\nACGT\n>b\n?\n"))
    assert next(records).sequence == b"ACGT"
    with pytest.raises(HyenaError, match="record 'b'"):
        next(records)


def test_file_cut_short(tmp_path: Path):
    path = write(tmp_path, gzip.compress(b">a\n" + b"ACGT\n" * 1000)[:-4])
    with pytest.raises(HyenaError, match="damaged or cut short"):
        list(read_fasta(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b">a\nA", True), (b"\r\n" * 50_000 + b">a", True), (b"A >", False), (b"@a\nA\n+\nI\n", False), (b"", False)],
)
def test_fasta_is_known_by_content(tmp_path: Path, pack: Callable[[bytes], bytes], content: bytes, expected: bool):
    assert is_fasta(write(tmp_path, pack(content))) is expected


def test_missing_file(tmp_path: Path):
    with pytest.raises(HyenaError, match="does not exist"):
        is_fasta(tmp_path / "none.fa")


RECORDS = st.lists(
    st.tuples(st.text("abc_1", min_size=1, max_size=4), st.text("ACGTNacgtryk-*", min_size=1, max_size=40)),
    min_size=1,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(RECORDS, st.integers(1, 9), st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), st.integers(1, 30), st.booleans())
def test_blocks_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    records: list[tuple[str, str]],
    width: int,
    end: str,
    block: int,
    last: bool,
):
    """Whatever the width of the lines and wherever a block of the file ends."""
    monkeypatch.setattr(fasta, "_BLOCK", block)
    lines = []
    for name, letters in records:
        lines += [f">{name} a description", *(letters[i : i + width] for i in range(0, len(letters), width))]
    content = end.join(lines) + (end if last else "")
    path = write(tmp_path_factory.mktemp("fasta"), content.encode())
    assert [(r.name, r.description, r.sequence.decode()) for r in read_fasta(path)] == [
        (name, "a description", letters) for name, letters in records
    ]


def test_the_line_of_a_fault_is_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fasta, "_BLOCK", 7)
    with pytest.raises(HyenaError, match="line 9: '1' in the sequence of record 'b'"):
        list(read_fasta(write(tmp_path, b">a\n" + 5 * b"ACGT\n" + b">b\nAC\nA1\n")))
