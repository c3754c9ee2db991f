"""Tokens on disk: shards of bounded size that are mapped into memory, and an index that says all about them.

A directory holds tokens-00000.bin, tokens-00001.bin, ... (little-endian unsigned numbers, nothing else), index.json, and the
tokenizer's file where there is one. It is written beside its place and renamed at the end: it is whole or not there.
"""

import glob
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hyena.configs.data import Policy
from hyena.configs.files import read_json
from hyena.data.corpus import Contents, Corpus, SourceFile, Span, collect, name_of
from hyena.data.reader import Reader, Report
from hyena.data.sources import INDEX, find_sources, is_prepared
from hyena.data.tokenizers import FileTokenizer, Tokenizer, load_tokenizer
from hyena.data.tokens import Tokens, digest_of, little_endian
from hyena.errors import HyenaError

FORMAT, VERSION = "hyena tokens", 1
SHARD_BYTES = 1 << 30
TOKENIZER = "tokenizer.json"


class Shards:
    """Writes tokens into tokens-00000.bin, tokens-00001.bin, ... of a directory."""

    def __init__(self, directory: Path, dtype: np.dtype, shard_bytes: int):
        """HyenaError for shards that hold no token."""
        self._capacity = shard_bytes // dtype.itemsize
        if self._capacity < 1:
            raise HyenaError(f"shard_bytes is {shard_bytes}; pass at least {dtype.itemsize}, such as {SHARD_BYTES}")
        self._directory = directory
        self._file: BinaryIO | None = None
        self.counts: list[int] = []

    def write(self, ids: np.ndarray) -> None:
        """Append tokens (l,), beginning a new shard where one is full."""
        while len(ids):
            if self._file is None or self.counts[-1] == self._capacity:
                self.close()
                self._file = (self._directory / shard_name(len(self.counts))).open("wb", buffering=1 << 20)
                self.counts.append(0)
            now = ids[: self._capacity - self.counts[-1]]
            self._file.write(little_endian(now))
            self.counts[-1] += len(now)
            ids = ids[len(now) :]

    def close(self) -> None:
        """Put the last shard on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def shard_name(number: int) -> str:
    """tokens-00000.bin and so on."""
    return f"tokens-{number:05d}.bin"


def prepare(
    paths: Sequence[str | Path] | str | Path,
    tokenizer: Tokenizer,
    directory: str | Path,
    policy: Policy | None = None,
    report: Report | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Corpus:
    """Read files and folders as `load_corpus` does, into a new directory; returns the corpus, mapped from there.

    Memory stays bounded: a megabyte at a time, a document at a time for a tokenizer file. report(bytes_done, bytes_total)
    counts the sources' bytes on disk. HyenaError as `load_corpus`, for a directory that holds something, and for a path that
    is prepared already; nothing is left behind then.
    """
    policy, directory = policy or Policy(), Path(directory)
    sources, notes = find_sources(paths)
    if prepared := next((source.path for source in sources if source.kind == "prepared"), None):
        raise HyenaError(f"{prepared} holds prepared tokens already; name it itself where data files are named")
    reader = Reader(sources, tokenizer, policy, report)
    part = _begin(directory)
    try:
        part.mkdir(parents=True)
        shards = Shards(part, reader.dtype, shard_bytes)
        try:
            contents = collect(reader, sources, shards.write)
        finally:
            shards.close()
        given = [paths] if isinstance(paths, str | Path) else paths
        index = _index(tokenizer, policy, reader.dtype, shards.counts, contents)
        index |= {"notes": [*notes, *reader.notes()], "paths": [str(path) for path in given], "source": name_of(sources)}
        if isinstance(tokenizer, FileTokenizer):
            (part / TOKENIZER).write_bytes(tokenizer.content)
        with (part / INDEX).open("w", encoding="utf-8") as file:
            json.dump(index, file, indent=None)
            file.flush()
            os.fsync(file.fileno())
        if directory.exists():
            directory.rmdir()  # it is empty; some systems rename onto no directory at all
        os.replace(part, directory)
    except OSError as error:
        raise HyenaError(f"cannot write to {directory}: {error.strerror or error}; choose another directory") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return open_tokens(directory, tokenizer)


def open_tokens(directory: str | Path, tokenizer: Tokenizer | None = None, verify: bool = False) -> Corpus:
    """The corpus in a directory that `prepare` wrote, mapped into memory: nothing is read until it is asked for.

    tokenizer: must be the one that made the tokens; None: it is loaded. verify: read all and compare with the digest.
    HyenaError, naming the file, for a directory without tokens, a missing shard or one of another size, an index that is
    damaged or of a newer version, another tokenizer, and tokens that do not match the digest.
    """
    directory = Path(directory)
    index = read_index(directory)
    tokenizer = _tokenizer(directory, index, tokenizer)
    shards = [_map(directory / shard_name(i), count, index["dtype"]) for i, count in enumerate(index["shards"])]
    if verify and (found := digest_of(block for shard in shards for block in _blocks(shard))) != index["digest"]:
        raise HyenaError(
            f"the tokens in {directory} have the digest {found[:12]} and not {index['digest'][:12]}; prepare them again"
        )
    contents = Contents(index["digest"], index["count"], tuple(index["documents"]), tuple(index["sources"]))
    return Corpus(Tokens(shards, index["digest"]), tokenizer, index["source"], tuple(index["notes"]), contents)


def open_prepared(directory: Path, tokenizer: Tokenizer, policy: Policy, verify: bool = False) -> Corpus:
    """`open_tokens` where files are named: HyenaError where the policy asks for what the tokens were not prepared with."""
    recorded, usual = read_index(directory)["policy"], asdict(Policy())
    for name, value in asdict(policy).items():
        if value not in (usual[name], recorded.get(name)):
            raise HyenaError(
                f"{directory} was prepared with {name} {recorded.get(name)!r}, not {value!r}; "
                f"leave {name} out, or prepare the files again with it"
            )
    return open_tokens(directory, tokenizer, verify)


def read_index(directory: Path) -> dict[str, Any]:
    """The index of a directory, its keys and types checked."""
    if not is_prepared(directory):
        raise HyenaError(f"{directory} holds no prepared tokens; make them with hyena prepare FILES --out {directory}")
    index = read_json(directory / INDEX)
    version = index.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise HyenaError(f"{directory} is of version {version!r} and this program reads up to {VERSION}; update hyena")
    key = ""
    try:
        for key, read in _FIELDS.items():
            index[key] = read(index[key])
        key = "documents"
        if not _in_order(index[key], index["count"], sum(index["shards"])):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise HyenaError(f"{directory / INDEX} is damaged: {key} is {index.get(key)!r:.40}; prepare the files again") from None
    return index


def _of(kind: type) -> Callable[[Any], Any]:
    """Hands back a value of a type; TypeError for any other."""

    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return read


def _dtype(value: Any) -> np.dtype:
    """An unsigned little-endian type by its name."""
    if value not in ("|u1", "<u2", "<u4"):
        raise ValueError
    return np.dtype(value)


def _span(name: Any, start: Any, tokens: Any, fasta: Any, digest: Any = "") -> Span:
    """A document's row, its types checked."""
    return Span(_of(str)(name), _of(int)(start), _of(int)(tokens), _of(bool)(fasta), _of(str)(digest))


def _in_order(spans: list[Span], count: int, total: int) -> bool:
    """Whether documents follow one another within the tokens, and all are listed or, of very many, none."""
    ends = [0, *(span.start + span.tokens for span in spans)]
    apart = all(end <= span.start and span.tokens >= 0 for end, span in zip(ends, spans, strict=False))
    return apart and ends[-1] <= total and len(spans) in (0, count)


# Each key of an index, and what makes its value of what JSON holds.
_FIELDS: dict[str, Callable[[Any], Any]] = {
    "tokenizer": _of(dict),
    "policy": _of(dict),
    "dtype": _dtype,
    "shards": lambda counts: [int(_of(int)(count)) for count in counts],
    "digest": _of(str),
    "count": _of(int),
    "documents": lambda rows: [_span(*row) for row in rows],
    "sources": lambda rows: [SourceFile(*row) for row in rows],
    "notes": lambda lines: [_of(str)(line) for line in lines],
    "paths": lambda lines: [_of(str)(line) for line in lines],
    "source": _of(str),
}


def _index(tokenizer: Tokenizer, policy: Policy, dtype: np.dtype, shards: list[int], contents: Contents) -> dict[str, Any]:
    """What index.json says of the tokens; `is_prepared` looks for the format at the beginning."""
    spec = f"file:{TOKENIZER}" if isinstance(tokenizer, FileTokenizer) else tokenizer.spec
    return {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer": {"spec": spec, "vocab_size": tokenizer.vocab_size},
        "policy": asdict(policy),
        "dtype": dtype.newbyteorder("<").str if dtype.itemsize > 1 else "|u1",
        "shards": shards,
        **asdict(contents),
    }


def _begin(directory: Path) -> Path:
    """Where to write until all is whole; what a killed program of this machine left behind is removed."""
    if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
        held = "prepared tokens" if is_prepared(directory) else "something else"
        raise HyenaError(f"{directory} already holds {held}; remove it or name another directory")
    host = re.sub(r"\W", "-", platform.node())
    prefix = f".{directory.name}.{host}."
    for left in directory.absolute().parent.glob(f"{glob.escape(prefix)}*.part"):
        process = left.name.removeprefix(prefix).removesuffix(".part")
        if process.isdigit() and (int(process) == os.getpid() or not _alive(int(process))):
            shutil.rmtree(left, ignore_errors=True)
    return directory.absolute().parent / f"{prefix}{os.getpid()}.part"


def _alive(process: int) -> bool:
    """Whether a process runs; true where the system cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _tokenizer(directory: Path, index: dict[str, Any], given: Tokenizer | None) -> Tokenizer:
    """The tokenizer of the tokens; HyenaError where the one that is given is another."""
    spec, size = index["tokenizer"].get("spec"), index["tokenizer"].get("vocab_size")
    if given is None:
        return load_tokenizer(str(spec), directory)
    if isinstance(given, FileTokenizer):
        own = directory / TOKENIZER
        same = own.is_file() and own.read_bytes() == given.content
    else:
        same = (spec, size) == (given.spec, given.vocab_size)
    if not same:
        raise HyenaError(
            f"{directory} was prepared with tokenizer {spec!r}, not with {given.spec!r}; prepare the files again with it"
        )
    return given


def _map(path: Path, count: int, dtype: np.dtype) -> np.ndarray:
    """A shard as an array that is read when it is used; HyenaError where it is missing or of another size."""
    try:
        size = path.stat().st_size
        if size != count * dtype.itemsize:
            raise HyenaError(
                f"{path} has {size} bytes in place of {count * dtype.itemsize}; copy it again or prepare the files again"
            )
        return np.memmap(path, dtype, mode="r").view(np.ndarray)
    except FileNotFoundError:
        raise HyenaError(
            f"{path} does not exist, though the index names it; copy it again or prepare the files again"
        ) from None
    except OSError as error:
        raise HyenaError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _blocks(shard: np.ndarray) -> list[np.ndarray]:
    return [shard[i : i + (1 << 22)] for i in range(0, len(shard), 1 << 22)]
