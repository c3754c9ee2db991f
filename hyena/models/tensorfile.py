"""Safetensors files, one tensor at a time: a model of any size is read and written in the memory of its largest tensor.

The package `safetensors` checks a file's header; the bytes are read and written here. Its reader maps the file, and the pages
stay in memory beside their copies; its writer holds every tensor twice.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hyena.errors import HyenaError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Stored:
    """A tensor that is still on disk."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]
    """Its content, read anew at every call."""


class Tensors(Mapping[str, Tensor]):
    """Name -> tensor, each read from disk when it is asked for and never kept; names in the order of the file."""

    def __init__(self, stored: Mapping[str, Stored], metadata: Mapping[str, str] | None = None):
        """metadata: what a file says of itself."""
        self.stored, self.metadata = dict(stored), dict(metadata or {})

    def __getitem__(self, name: str) -> Tensor:
        """Read one."""
        return self.stored[name].load()

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.stored)

    def __len__(self) -> int:
        """How many."""
        return len(self.stored)


def numbers(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, without a copy."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def fill(file: BinaryIO, offset: int, tensor: Tensor) -> Tensor:
    """Read a contiguous tensor's bytes from a place in a file into it."""
    file.seek(offset)
    view = numbers(tensor).cast("B") if tensor.nbytes else memoryview(b"")
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"{len(view) - done} bytes are missing")
        done += count
    return tensor


def open_safetensors(path: Path) -> Tensors:
    """A safetensors file's tensors; one line that names it where it is missing, truncated or corrupt."""
    if not path.is_file():
        raise HyenaError(f"{path} does not exist: the checkpoint is incomplete, or the path is wrong")
    try:
        with safe_open(path, framework="pt"):  # checks the header, and that the file is as long as it says
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise HyenaError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from None
    metadata = header.pop("__metadata__", None)
    unknown = next((name for name, entry in header.items() if entry["dtype"] not in DTYPES), None)
    if unknown is not None:
        raise HyenaError(f"{path}: {unknown} is of dtype {header[unknown]['dtype']}, which is not known here: update hyena")
    return Tensors({name: _stored(path, 8 + length, entry) for name, entry in header.items()}, metadata)


def _stored(path: Path, base: int, entry: dict) -> Stored:
    """One tensor of a file whose data begins at `base`."""
    shape, dtype, offset = tuple(entry["shape"]), DTYPES[entry["dtype"]], base + entry["data_offsets"][0]

    def load() -> Tensor:
        try:
            with path.open("rb", buffering=0) as file:
                return fill(file, offset, torch.empty(shape, dtype=dtype))
        except (OSError, EOFError) as error:
            raise HyenaError(f"{path} cannot be read ({error}): copy or download it again") from None

    return Stored(shape, dtype, load)


def write_safetensors(tensors: Iterable[tuple[str, Stored]], path: Path, metadata: Mapping[str, str]) -> None:
    """A safetensors file, a tensor at a time. Wide types come first, so that each is aligned, as the format's own writer does.

    `OSError` where the disk is full.
    """
    entries = dict(tensors)
    order = sorted(entries, key=lambda name: -entries[name].dtype.itemsize)
    header: dict = {"__metadata__": dict(metadata)} if metadata else {}
    header |= dict.fromkeys(entries)  # names in the order given, whatever the order of the bytes
    end = 0
    for name in order:
        stored, begin = entries[name], end
        end += stored.dtype.itemsize * torch.Size(stored.shape).numel()
        header[name] = {"dtype": _NAMES[stored.dtype], "shape": list(stored.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(numbers(in_memory(entries[name].load())))


def in_memory(tensor: Tensor) -> Tensor:
    """The tensor as it is written: detached, contiguous, on the CPU; no copy where it is that already."""
    return tensor.detach().cpu().contiguous()


def of(tensor: Tensor) -> Stored:
    """A tensor in memory as one that is written."""
    return Stored(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def save_file(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """`write_safetensors` for tensors in memory."""
    write_safetensors([(name, of(tensor)) for name, tensor in tensors.items()], path, metadata)
