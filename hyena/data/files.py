"""Opens data files: plain, gzip or xz, told apart by their first bytes and never by their name.

Everything here hands over raw bytes; what they mean is for the tokenizers and the FASTA reader. Nothing is written,
fetched or cached, and other archives (zip, bz2, zst) are not unpacked: they are bytes like any others.
"""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from hyena.errors import HyenaError

_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"


def open_bytes(path: str | Path) -> BinaryIO:
    """Open a plain, gzip or xz file for reading its uncompressed bytes; the caller closes it.

    HyenaError for a missing, unreadable or irregular file. Damage inside a compressed file shows only while it is read:
    see `reading` and `read_bytes`.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise HyenaError(f"{path} does not exist; check the path")
        # A pipe cannot be looked at first and read afterwards: its first bytes would be lost without a word.
        if not path.is_file():
            raise HyenaError(f"{path} is not a regular file; give the path of one file")
        with path.open("rb") as file:
            magic = file.read(len(_XZ))
        if magic.startswith(_GZIP):
            return cast(BinaryIO, gzip.open(path, "rb"))
        if magic == _XZ:
            return cast(BinaryIO, lzma.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise HyenaError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


@contextmanager
def reading(path: str | Path) -> Iterator[BinaryIO]:
    """`open_bytes` for a with statement; damage met inside it (file cut short, bad checksum) becomes a HyenaError."""
    with open_bytes(path) as file:
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
