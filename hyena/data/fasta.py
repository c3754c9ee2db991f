"""Reads FASTA: records of a header line that starts with ">" and lines of sequence, plain or compressed.

Sequences come as they stand in the file, letter case included; `to_acgtn` maps them to the five letters a model reads.
Quality strings (FASTQ), alignments and protein are not its business.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hyena.data.files import reading
from hyena.errors import HyenaError

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AMBIGUOUS = b"RYSWKMBDHV"
_TO_ACGTN = bytes.maketrans(_AMBIGUOUS + b"U", b"N" * len(_AMBIGUOUS) + b"T")


@dataclass(frozen=True)
class Record:
    """One sequence: its name (the header's first word), the rest of the header, and its letters as in the file."""

    name: str
    description: str
    sequence: bytes


def is_fasta(path: str | Path) -> bool:
    """Whether the first byte that is not white space is ">", after decompression; the file's name plays no part."""
    with reading(path) as file:
        while block := file.read(1 << 16):
            if text := block.lstrip():
                return text.startswith(b">")
    return False


def read_fasta(path: str | Path) -> Iterator[Record]:
    """The records of a file in order, one in memory at a time; blank lines and Windows line ends are fine.

    HyenaError, when reached, for text before the first header, a record without sequence, a character other than a
    letter, "-" or "*" in a sequence, and a file without any record.
    """
    name, description, header_line = "", "", 0
    lines: list[bytes] = []

    def record() -> Record:
        if not lines:
            raise HyenaError(f"{path}, line {header_line}: record {name!r} has no sequence; remove or complete it")
        return Record(name, description, b"".join(lines))

    with reading(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.strip()
            if line.startswith(b">"):
                if header_line:
                    yield record()
                # Headers in old files are often Latin-1; a name that is not ASCII is no reason to stop.
                words = line[1:].decode("utf-8", errors="replace").split(maxsplit=1)
                name, description = (*words, "", "")[:2]
                header_line, lines = number, []
            elif line and not header_line:
                raise HyenaError(f"{path}, line {number}: text before the first '>'; FASTA starts with a header line")
            elif line:
                if strange := line.translate(None, _LETTERS + b"-*"):
                    raise HyenaError(
                        f"{path}, line {number}: {chr(strange[0])!r} in the sequence of record {name!r}; a file that "
                        "starts with '>' is read as FASTA, whose sequences are letters, '-' and '*'"
                    )
                lines.append(line)
        if not header_line:
            raise HyenaError(f"{path} has no FASTA record; give a file with a '>' header and a sequence")
        yield record()


def to_acgtn(sequence: bytes) -> tuple[bytes, int]:
    """The sequence in upper-case A C G T N of the same length, and how many IUPAC ambiguity codes became N.

    U, the T of RNA, becomes T and is not counted. HyenaError for gaps ("-", "*") and letters that are no nucleotide.
    """
    upper = sequence.upper()
    if strange := upper.translate(None, b"ACGTUN" + _AMBIGUOUS):
        position = upper.index(strange[0])
        raise HyenaError(
            f"{chr(strange[0])!r} at position {position} (the first is 0) is not a nucleotide; "
            f"legal are ACGTUN and {_AMBIGUOUS.decode()}, without gaps"
        )
    return upper.translate(_TO_ACGTN), len(upper) - len(upper.translate(None, _AMBIGUOUS))
