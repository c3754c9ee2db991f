"""Reads FASTA: records of a header line that starts with ">" and lines of sequence, plain or compressed.

Sequences come as they stand in the file, letter case included; `hyena.data.dna` maps them to the five letters a model
reads. A file is read in blocks, so that a chromosome costs a copy and not a loop over its lines. Quality strings (FASTQ),
alignments and protein are not its business.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from hyena.data.files import BYTE_ORDER_MARK, reading
from hyena.errors import HyenaError

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-*"
_HEADERS = re.compile(rb"^(>[^\n]*\n?)", re.MULTILINE)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Record:
    """One sequence: its name (the header's first word), the rest of the header, and its letters as in the file."""

    name: str
    description: str
    sequence: bytes


# Two records may have the same header; they are told apart by identity.
@dataclass(frozen=True, eq=False)
class Header:
    """The name and description of a record, and the line they stand in."""

    name: str
    description: str
    line: int


def is_fasta(path: str | Path) -> bool:
    """Whether the first byte but white space and a byte order mark is ">", after decompression; the name plays no part."""
    with reading(path) as file:
        return first_text(file).startswith(b">")


def first_text(file: BinaryIO) -> bytes:
    """The first block of a file that is not white space alone, without the white space and the byte order mark before it."""
    mark = BYTE_ORDER_MARK
    while block := file.read(1 << 16):
        if text := block.removeprefix(mark).lstrip():
            return text
        mark = b""
    return b""


def read_fasta(path: str | Path) -> Iterator[Record]:
    """The records of a file in order, one in memory at a time; blank lines and Windows line ends are fine.

    HyenaError, when reached, for text before the first header, a record without sequence, a character other than a
    letter, "-" or "*" in a sequence, and a file without any record.
    """
    for header, parts in groupby(read_parts(path), key=lambda part: part[0]):
        yield Record(header.name, header.description, b"".join(letters for _, letters in parts))


def read_parts(path: str | Path, advance: Callable[[int], None] | None = None) -> Iterator[tuple[Header, bytes]]:
    """(header, letters) in order, about a megabyte at a time; the parts of a record share one header object.

    Errors as `read_fasta`; advance as `hyena.data.files.reading`.
    """
    header: Header | None = None
    filled, returns = True, False
    with reading(path, advance) as file:
        for number, text in _runs(file):
            if text.startswith(b">"):
                _check_filled(path, header, filled, returns)
                # Headers in old files are often Latin-1; a name that is not ASCII is no reason to stop.
                words = text[1:].decode("utf-8", errors="replace").split(maxsplit=1)
                name, description = (*words, "", "")[:2]
                header, filled, returns = Header(name, description.rstrip(), number), False, b"\r" in text
                yield header, b""  # says that the record before is complete
            elif header is None:
                raise HyenaError(f"{path}, line {number}: text before the first '>'; FASTA starts with a header line")
            elif strange := text.translate(None, _LETTERS):
                raise HyenaError(
                    f"{path}, line {number}: {chr(strange[0])!r} in the sequence of record {header.name!r}; a file that "
                    "starts with '>' is read as FASTA, whose sequences are letters, '-' and '*'"
                )
            else:
                filled = True
                yield header, text
        if header is None:
            raise HyenaError(f"{path} has no FASTA record; give a file with a '>' header and a sequence")
        _check_filled(path, header, filled, returns)


def _check_filled(path: str | Path, header: Header | None, filled: bool, returns: bool) -> None:
    """HyenaError for a record without sequence; returns: its header holds carriage returns, and perhaps all that followed."""
    if header is not None and not filled and returns:
        raise HyenaError(
            f"{path}, line {header.line}: record {header.name!r} has lines that end in a carriage return alone, which are not "
            r"read; convert them, such as with tr '\r' '\n'"
        )
    if header is not None and not filled:
        raise HyenaError(f"{path}, line {header.line}: record {header.name!r} has no sequence; remove or complete it")


def _runs(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, text): a header line, or lines of sequence joined; lines with anything else one by one."""
    number, mark = 1, BYTE_ORDER_MARK
    while block := file.read(_BLOCK):
        block = (block + file.readline()).removeprefix(mark)
        mark = b""
        for run in _HEADERS.split(block) if b">" in block else [block]:
            letters = run if run.startswith(b">") else run.translate(None, b"\r\n")
            if letters.translate(None, _LETTERS) and not run.startswith(b">"):
                lines = (line.strip() for line in run.split(b"\n"))
                yield from ((number + i, line) for i, line in enumerate(lines) if line)
            elif letters:
                yield number, letters.rstrip()
            number += run.count(b"\n")
