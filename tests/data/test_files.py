"""Plain, gzip and xz files by content; missing, empty and damaged ones as one-line errors."""

import gzip
import lzma
import os
import random
from pathlib import Path

import pytest

from hyena.data import open_bytes, read_bytes
from hyena.errors import HyenaError

# Random bytes do not compress, so that a cut goes through the data and not only the trailer.
CONTENT = b"ACGT\n" + random.Random(0).randbytes(100_000)
PACK = {"plain": lambda content: content, "gzip": gzip.compress, "xz": lzma.compress}


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


@pytest.mark.parametrize("name", ["plain.gz", "plain.xz"])
def test_plain_content_under_a_compressed_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"text")
    assert read_bytes(tmp_path / name) == b"text"


@pytest.mark.parametrize("kind", PACK)
def test_empty_file(tmp_path: Path, kind: str):
    path = tmp_path / "empty"
    path.write_bytes(PACK[kind](b""))
    with pytest.raises(HyenaError, match=r"empty is empty"):
        read_bytes(path)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
@pytest.mark.parametrize("kept", [7, 50_000, -4])
def test_file_cut_short(tmp_path: Path, kind: str, kept: int):
    path = tmp_path / "cut"
    path.write_bytes(PACK[kind](CONTENT)[:kept])
    with pytest.raises(HyenaError, match=r"cut is damaged or cut short"):
        read_bytes(path)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
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
