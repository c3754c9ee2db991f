"""Plain, gzip, bzip2 and xz files by content; missing, empty, damaged and foreign ones as one-line errors."""

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from hyena.data import open_bytes, read_bytes
from hyena.data.files import reading, refuse_packed
from hyena.errors import HyenaError

# Random bytes do not compress, so that a cut goes through the data and not only the trailer.
CONTENT = b"ACGT\n" + random.Random(0).randbytes(100_000)
PACK = {"plain": lambda content: content, "gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("kind", PACK)
def test_content_is_unpacked_whatever_the_name(tmp_path: Path, kind: str):
    path = tmp_path / "misnamed.txt"
    path.write_bytes(PACK[kind](CONTENT))
    assert read_bytes(path) == CONTENT
    assert read_bytes(str(path)) == CONTENT
    with open_bytes(path) as file:
        assert file.readline() == b"ACGT\n"


def test_gzip_of_several_members_is_read_to_the_end(tmp_path: Path):
    path = tmp_path / "blocks.gz"
    path.write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    assert read_bytes(path) == b"onetwo"


def test_bzip2_of_several_streams_is_read_to_the_end(tmp_path: Path):
    path = tmp_path / "blocks.bz2"
    path.write_bytes(bz2.compress(b"one") + bz2.compress(b"") + bz2.compress(b"two"))
    assert read_bytes(path) == b"onetwo"


@pytest.mark.parametrize("content", [b"BZh", b"BZhang's book", b"BZh9 is no level here", b"PAR1 is a region", b"PK is a key"])
def test_a_text_that_begins_like_another_format_is_a_text(tmp_path: Path, content: bytes):
    (tmp_path / "text").write_bytes(content)
    assert read_bytes(tmp_path / "text") == content


@pytest.mark.parametrize("name", ["plain.gz", "plain.xz", "plain.bz2"])
def test_plain_content_under_a_compressed_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"text")
    assert read_bytes(tmp_path / name) == b"text"


@pytest.mark.parametrize("kind", PACK)
def test_empty_file(tmp_path: Path, kind: str):
    path = tmp_path / "empty"
    path.write_bytes(PACK[kind](b""))
    with pytest.raises(HyenaError, match=r"empty is empty"):
        read_bytes(path)


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
@pytest.mark.parametrize("kept", [7, 50_000, -4])
def test_file_cut_short(tmp_path: Path, kind: str, kept: int):
    path = tmp_path / "cut"
    path.write_bytes(PACK[kind](CONTENT)[:kept])
    with pytest.raises(HyenaError, match=r"cut is damaged or cut short"):
        read_bytes(path)


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
@pytest.mark.parametrize("place", [12, 60_000, -8])
def test_file_with_a_wrong_byte(tmp_path: Path, kind: str, place: int):
    packed = bytearray(PACK[kind](CONTENT))
    packed[place] ^= 0xFF
    path = tmp_path / "wrong"
    path.write_bytes(packed)
    with pytest.raises(HyenaError, match="wrong is damaged"):
        read_bytes(path)


def test_missing_file_directory_and_pipe(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HyenaError, match="none does not exist"):
        open_bytes(tmp_path / "none")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(HyenaError, match=f"{path} is not a regular file"):
            open_bytes(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not chmod: root may read every file.
    monkeypatch.setattr(Path, "open", refuse)
    (tmp_path / "secret").touch()
    with pytest.raises(HyenaError, match=r"secret cannot be read \(Permission denied\)"):
        read_bytes(tmp_path / "secret")


def test_a_name_the_system_refuses_is_one_line(tmp_path: Path):
    with pytest.raises(HyenaError, match="cannot be read") as caught:
        read_bytes(tmp_path / ("x" * 5000))
    assert "\n" not in str(caught.value)


def archive(kind: str) -> bytes:
    """A small archive as its program writes it."""
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("a.txt", "text")
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


FOREIGN = {
    "a zip archive": archive("zip"),
    "a tar archive": archive("tar"),
    "compressed by zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    "compressed by lz4": b"\x04\x22\x4d\x18d@",
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "a rar archive": b"Rar!\x1a\x07\x01\x00",
    "a Parquet table": b"PAR1" + bytes(20) + b"PAR1",
    "a 2bit genome": b"\x43\x27\x41\x1a" + bytes(12),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_format_that_is_not_read_is_refused_by_name(tmp_path: Path, what: str):
    (tmp_path / "x.txt").write_bytes(FOREIGN[what])
    with pytest.raises(HyenaError, match=f"x.txt is {what}, which is not read; .*[a-z]") as caught:
        read_bytes(tmp_path / "x.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "content"), [("a tar archive", archive("tar")), ("compressed twice", gzip.compress(b"a", mtime=0))]
)
def test_what_is_in_a_compressed_file_is_looked_at_too(what: str, content: bytes):
    with pytest.raises(HyenaError, match=what):
        refuse_packed("x.gz", content)
    refuse_packed("x.gz", b"text")


@pytest.mark.parametrize("kind", PACK)
def test_the_bytes_taken_from_disk_are_told(tmp_path: Path, kind: str):
    path = tmp_path / "file"
    path.write_bytes(PACK[kind](CONTENT))
    taken: list[int] = []
    with reading(path, taken.append) as file:
        assert file.read() == CONTENT
    assert sum(taken) == path.stat().st_size
