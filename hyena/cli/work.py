"""Work that a killed command goes on with: lines appended beside the output, which appears when all is done.

OUT.partial begins with a line that says what the work is (model, options, input); each further line is one finished piece and
is on disk before the next begins. A line cut off by a crash is dropped. Numbers too many for lines go to a second file, whose
length at that moment each line holds.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.models.state import fingerprint as weights
from hyena.training.files import sync

_HEADER = 128
"""Bytes of the header of a .npy file."""


def fingerprint(model: LanguageModel | Classifier, files: tuple[Path, ...], options: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for work to go on: the weights, the files' content, the options."""
    content = hashlib.blake2b(digest_size=16)
    for path in files:
        if not path.is_file():
            raise HyenaError(f"{path} is no file: name FASTA or text files")
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                content.update(block)
    return {"model": weights(model, model.config.to_dict()), "input": content.hexdigest()} | options


def check_outputs(outputs: list[Path | None], directory: Path, files: tuple[Path, ...]) -> None:
    """One clear line, before any work, for an output that would replace what the command reads, or another output."""
    given = [path for path in outputs if path is not None]
    inputs, model = {path.resolve() for path in files}, directory.resolve()
    for i, path in enumerate(given):
        place = path.resolve()
        if place.is_dir():
            raise HyenaError(f"cannot write {path}: it is a directory; name a file")
        if place.exists() and not place.is_file():
            raise HyenaError(f"cannot write {path}: it is a device or a pipe, and the output takes its place; name a file")
        if place in inputs or (model in place.parents and place.exists()):
            raise HyenaError(f"cannot write {path}: it is read by this command; name another file")
        if place in {other.resolve() for other in given[:i]}:
            raise HyenaError(f"{path} is named for two outputs: name two files")


class Work:
    """The finished pieces of a long command. Use as a context: files are closed at its end, and kept until `finish`."""

    def __init__(self, out: Path, what: dict[str, Any], restart: bool, values: Path | None = None):
        """out: the output; what: its fingerprint; restart: begin again; values: a .npy file of float32 beside it."""
        for path in (out, values):
            if path is not None and not path.absolute().parent.is_dir():
                raise HyenaError(f"cannot write {path}: {path.parent} is no directory; make it, or name another place")
        self.out, self.values = out, values
        self._lines, self._numbers = _partial(out), None if values is None else _partial(values)
        self.pieces: list[Any] = []
        if not restart:
            self._recover(what)
        count = self.pieces[-1][0] if self.pieces else 0
        self._file = self._lines.open("r+b" if self.pieces else "wb")
        if self.pieces:
            self._file.seek(0, os.SEEK_END)
        else:
            self._write(what)
        self._array = None if self._numbers is None else self._numbers.open("r+b" if self.pieces else "wb")
        if self._array is not None:
            self._array.truncate(_HEADER + 4 * count)
            self._array.seek(_HEADER + 4 * count)
        self.count = count
        sync(self._lines.absolute().parent)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files; what is finished stays in them."""
        self._file.close()
        if self._array is not None:
            self._array.close()
        if not self.pieces:
            for path in (self._lines, self._numbers):
                if path is not None:
                    path.unlink(missing_ok=True)

    def append(self, piece: Any, numbers: np.ndarray | None = None) -> None:
        """Keep a finished piece (plain values for JSON) and its numbers; when this returns, they are on disk."""
        if self._array is not None and numbers is not None:
            self._array.write(numbers.astype("<f4").tobytes())
            self._array.flush()
            os.fsync(self._array.fileno())
            self.count += numbers.size
        self.pieces.append([self.count, piece])
        self._write(self.pieces[-1])

    def finish(self, write: Callable[[Path], object]) -> None:
        """Write the output with `write`, let it and the file of numbers appear, and drop the work file."""
        if self._array is not None and self._numbers is not None and self.values is not None:
            self._array.seek(0)
            self._array.write(_npy_header((self.count,)))
            self._array.close()
            sync(self._numbers)
            os.replace(self._numbers, self.values)
        self._appear(write)

    def gather(self, write: Callable[[np.ndarray, Path], object]) -> None:
        """The same where the numbers are part of the output, which `write` makes of them."""
        assert self._array is not None
        assert self._numbers is not None
        self._array.flush()
        numbers = np.fromfile(self._numbers, "<f4", offset=_HEADER)
        self._appear(lambda part: write(numbers, part))
        self._array.close()
        self._numbers.unlink()

    def _appear(self, write: Callable[[Path], object]) -> None:
        part = self.out.with_name(f".{self.out.name}.part{self.out.suffix}")
        try:
            write(part)
            sync(part)
            os.replace(part, self.out)
        finally:
            part.unlink(missing_ok=True)
        self._file.close()
        self._lines.unlink()

    def _write(self, values: Any) -> None:
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _recover(self, what: dict[str, Any]) -> None:
        """The pieces of an earlier run; `HyenaError` where it did something else."""
        if not self._lines.is_file():
            return
        content = self._lines.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if len(lines) < 2:
            return
        begun = json.loads(lines[0])
        for name in [*what, *begun]:
            if begun.get(name) != what.get(name):
                raise HyenaError(
                    f"{self._lines} was begun with another {name} ({begun.get(name)}, now {what.get(name)}): give the same "
                    "files and options to go on, or --restart to begin again"
                )
        if self._numbers is not None and not self._numbers.is_file():
            raise HyenaError(f"{self._lines} is there and {self._numbers} is not: begin again with --restart")
        with self._lines.open("r+b") as file:
            file.truncate(len(whole))
        self.pieces = [json.loads(line) for line in lines[1:]]


def _partial(path: Path) -> Path:
    """The work file of an output."""
    return path.with_name(f"{path.name}.partial")


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of float32, 128 bytes whatever the shape, as NumPy's format version 1.0 has it."""
    text = str({"descr": "<f4", "fortran_order": False, "shape": shape})
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.ljust(_HEADER - 11).encode() + b"\n"
