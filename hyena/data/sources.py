"""Which files a path stands for, and what each of them is: text, documents by the line (.jsonl), FASTA, or prepared tokens.

A folder stands for the files below it with a known ending, in sorted order. A file that is named is read whatever its
ending. FASTA is known by its content, .jsonl by its ending, prepared tokens by their index; everything else is text.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from hyena.data.fasta import first_text
from hyena.data.files import BYTE_ORDER_MARK, reading, refuse_packed
from hyena.errors import HyenaError

Kind = Literal["text", "jsonl", "fasta", "prepared"]
INDEX = "index.json"
_TEXT, _FASTA = (".txt", ".text", ".md"), (".fa", ".fasta", ".fna", ".ffn", ".frn", ".fas")
_PACKED = (".gz", ".xz", ".bz2")
_ENDINGS = (*_TEXT, ".jsonl", *_FASTA)
_LONGEST_LINE = 1 << 22


@dataclass(frozen=True)
class Source:
    """One file, or one prepared directory.

    named: given by name and not found in a folder; a named file must not be empty.
    """

    path: Path
    kind: Kind
    bytes: int
    named: bool


def find_sources(paths: Sequence[str | Path] | str | Path) -> tuple[list[Source], list[str]]:
    """The sources that files and folders stand for, in order, and notes on what was left out.

    HyenaError for no path, a missing one, a folder without a file that is read, a file given twice (by whatever name), and
    a file of a format that is not read.
    """
    sources: list[Source] = []
    notes: list[str] = []
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not given:
        raise HyenaError("no data file given; name at least one")
    for path in given:
        if is_prepared(path):
            sources.append(Source(path, "prepared", 0, named=True))
        elif path.is_dir():
            sources += _folder(path, notes)
        else:
            kind = _kind(path)
            sources.append(Source(path, kind, path.stat().st_size, named=True))
    seen: dict[object, Path] = {}
    for source in sources:
        before = seen.setdefault(identity(source.path), source.path)
        if before is not source.path:
            same = f"{source.path} is given twice" if before == source.path else f"{before} and {source.path} are the same file"
            raise HyenaError(f"{same}; name each file once")
    return sources, notes


def identity(path: Path) -> object:
    """What two names of one file or directory have in common, through links too."""
    status = path.stat()
    return (status.st_dev, status.st_ino)


def is_prepared(path: Path) -> bool:
    """Whether the path is a directory of tokens that `prepare` wrote."""
    try:
        with (path / INDEX).open("rb") as file:
            return b'"hyena tokens"' in file.read(100)
    except OSError:
        return False


def _folder(folder: Path, notes: list[str]) -> list[Source]:
    """The files below a folder that are read, sorted by their path; a note counts the others."""
    taken: list[Path] = []
    others: Counter[str] = Counter()
    for path in _walk(folder):
        if path.is_dir():
            others["linked folder"] += 1
        elif _plain_name(path).endswith(_ENDINGS):
            taken.append(path)
        else:
            others[path.suffix.lower() or "no ending"] += 1
    names = ", ".join(sorted(others)[:8]) + (", ..." if len(others) > 8 else "")
    if not taken:
        found = f"only files that are not read ({names})" if others else "no file"
        raise HyenaError(f"{folder} holds {found}; name files, or a folder with {' '.join(_ENDINGS)} (also .gz .xz .bz2)")
    if others:
        notes.append(f"left out {others.total()} of {others.total() + len(taken)} files in {folder}: {names}")
    return [Source(path, _kind(path), path.stat().st_size, named=False) for path in taken]


def _walk(folder: Path) -> Iterator[Path]:
    """Files and links to folders below a folder, without hidden ones, sorted by the parts of their path."""

    def refuse(error: OSError) -> None:
        raise HyenaError(f"{error.filename} cannot be read ({error.strerror}); check its permissions")

    found: list[Path] = []
    for directory, below, names in os.walk(folder, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        linked = [name for name in below if Path(directory, name).is_symlink()]
        found += [Path(directory, name) for name in [*names, *linked] if not name.startswith(".")]
    return iter(sorted(found, key=lambda path: path.parts))


def _plain_name(path: Path) -> str:
    """The name in lower case without the ending of a compression."""
    name = path.name.lower()
    return name[: -len(path.suffix)] if name.endswith(_PACKED) else name


def _kind(path: Path) -> Kind:
    """What a file is; HyenaError for what is known and not read."""
    name = _plain_name(path)
    with reading(path) as file:
        refuse_packed(path, head := file.read(512))
    head = head.removeprefix(BYTE_ORDER_MARK)
    if name.endswith(".jsonl"):
        return "jsonl"
    with reading(path) as file:
        if first_text(file).startswith(b">") and not name.endswith((".md", ".text")):
            return "fasta"
    if head.startswith(b"@"):
        with reading(path) as file:
            if _is_fastq(file):
                raise HyenaError(f"{path} is FASTQ, which is not read; convert its reads to FASTA, such as with seqtk seq -a")
    return "text"


def _is_fastq(file: BinaryIO) -> bool:
    """Whether a file begins with a read: @name, letters, +, as many qualities. A text may begin with @ as well."""
    lines = [file.readline(_LONGEST_LINE).strip() for _ in range(4)]
    return lines[2].startswith(b"+") and lines[1].isalpha() and (len(lines[1]) == len(lines[3]) or not lines[3])
