"""Opens data files: plain, gzip, bzip2 or xz, told apart by their first bytes and never by their name.

Everything here hands over raw bytes; what they mean is for the tokenizers and the readers. Nothing is written, fetched
or cached. Archives and formats that are known but not read (zip, zstd, tar, Parquet, ...) are refused by name: their bytes
would otherwise be taken for text without a word.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from hyena.errors import HyenaError

_GZIP, _XZ, _BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"
# What follows bzip2's level: the first block, or the end of an empty file.
_BZIP2_BLOCKS = b"1AY&SY", b"\x17rE8P\x90"
_OPENERS: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "xz": lzma.open, "bzip2": bz2.open}
_HEAD = 512
# First bytes, name, cure.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive", "unpack it and name the files in it"),
    (b"PK\x05\x06", "an empty zip archive", "name a file with content"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd, or compress it with gzip or xz"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "unpack it with unlz4, or compress it with gzip or xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the files in it"),
    (b"Rar!\x1a\x07", "a rar archive", "unpack it and name the files in it"),
    (b"\x1a\x41\x27\x43", "a 2bit genome", "convert it with twoBitToFa"),
    (b"\x43\x27\x41\x1a", "a 2bit genome", "convert it with twoBitToFa"),
)
_BLOCK = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors write in front of UTF-8; it is no part of a text."""


def open_bytes(path: str | Path) -> BinaryIO:
    """Open a plain, gzip, bzip2 or xz file for reading its uncompressed bytes; the caller closes it.

    HyenaError for a missing, unreadable or irregular file, and for an archive or another format that is not read. Damage
    inside a compressed file shows only while it is read: see `reading` and `read_bytes`.
    """
    with _readable(path):
        return cast(BinaryIO, _OPENERS.get(_compression(Path(path)), open)(path, "rb"))


@contextmanager
def reading(path: str | Path, advance: Callable[[int], None] | None = None) -> Iterator[BinaryIO]:
    """`open_bytes` for a with statement; damage met inside it (file cut short, bad checksum) becomes a HyenaError.

    advance is called with the number of bytes taken from disk, whenever some are.
    """
    with _readable(path):
        opener = _OPENERS.get(_compression(Path(path)))
        raw = io.BufferedReader(_Watched(path, advance), _BLOCK)
    with raw, cast(BinaryIO, opener(raw, "rb") if opener else raw) as file:
        try:
            yield file
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise HyenaError(f"{path} is damaged or cut short ({error}); copy or download it again") from error


def read_bytes(path: str | Path) -> bytes:
    """The whole uncompressed content of a file; HyenaError where it is empty, damaged or cannot be opened."""
    with reading(path) as file:
        content = file.read()
    if not content:
        raise HyenaError(f"{path} is empty; give a file with content")
    return content


def refuse_packed(path: str | Path, head: bytes) -> None:
    """HyenaError where uncompressed content that begins with `head` (512 bytes tell) is an archive or compressed again."""
    found = next(((what, cure) for magic, what, cure in _FOREIGN if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        found = "a tar archive", "unpack it and name the folder"
    elif _kind(head) != "plain":
        found = "compressed twice", "unpack it once"
    if found is not None:
        raise HyenaError(f"{path} is {found[0]}, which is not read; {found[1]}")


class _Watched(io.FileIO):
    """A file that tells how many bytes were read."""

    def __init__(self, path: str | Path, advance: Callable[[int], None] | None):
        super().__init__(path, "rb")
        self._advance = advance or (lambda _: None)

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self._advance(count or 0)
        return count

    def readall(self) -> bytes:
        content = super().readall()
        self._advance(len(content))
        return content


def _kind(head: bytes) -> str:
    """gzip, xz, bzip2 or plain, by the first bytes; a bzip2 file may be cut short within them."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_XZ):
        return "xz"
    level, block = head[3:4], head[4:10]
    if head.startswith(_BZIP2) and b"1" <= level <= b"9" and any(whole.startswith(block) for whole in _BZIP2_BLOCKS):
        return "bzip2"
    return "plain"


def _compression(path: Path) -> str:
    """How a file is compressed; HyenaError where it is missing, irregular or of a format that is not read."""
    if not path.exists():
        raise HyenaError(f"{path} does not exist; check the path")
    # A pipe cannot be looked at first and read afterwards: its first bytes would be lost without a word.
    if not path.is_file():
        raise HyenaError(f"{path} is not a regular file; give the path of one file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head.startswith(b"PAR1") and len(head) > 11:
            file.seek(-4, io.SEEK_END)
            if file.read() == b"PAR1":  # a text may begin with the four letters, but not end with them too
                raise HyenaError(f"{path} is a Parquet table, which is not read; write its texts to a .jsonl file")
    kind = _kind(head)
    if kind == "plain":
        refuse_packed(path, head)
    return kind


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """The system's refusals as one line."""
    try:
        yield
    except OSError as error:
        raise HyenaError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
