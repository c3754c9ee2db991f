"""PyTorch files, read without running what they contain, and read and written one tensor at a time.

The pickle in such a file says where each tensor's bytes are. It is read with tensors that have no memory (`FakeTensorMode`),
which tell their place; the bytes follow when a tensor is asked for. A file may be cut into several, as the largest release is.
"""

import io
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.models.tensorfile import Stored, Tensors, fill, in_memory, numbers

_BROKEN = (RuntimeError, ValueError, EOFError, OSError, KeyError, TypeError, AttributeError, NotImplementedError)


@dataclass(frozen=True)
class Layout:
    """What a file is to hold: tensors in its order, each made when it is written."""

    tensors: Mapping[str, Stored]
    same: Mapping[str, str] = field(default_factory=dict)
    """Name -> the other name under which the tensor is there too; its bytes are stored once."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """As in `Pickled`."""


class Pickled(Tensors):
    """The tensors of a PyTorch file."""

    def __init__(self, stored: Mapping[str, Stored], kinds: Mapping[str, str]):
        """kinds: key -> what it is, where that is no tensor: "bytes" or "none"; as numbers here."""
        super().__init__(stored)
        self.kinds = dict(kinds)


class Joined(io.RawIOBase):
    """Several files read as one, one after the other."""

    def __init__(self, paths: list[Path]):
        """paths: in their order."""
        self.files: list[io.FileIO] = []  # first, because `close` is called even where a path cannot be opened
        self.sizes, self.position = [path.stat().st_size for path in paths], 0
        self.files += [path.open("rb", buffering=0) for path in paths]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: sum(self.sizes)}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        """Where it is."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Some bytes; none at the end."""
        begin = 0
        for file, size in zip(self.files, self.sizes, strict=True):
            if self.position < begin + size:
                file.seek(self.position - begin)
                count = file.readinto(memoryview(buffer)[: begin + size - self.position])
                self.position += count
                return count
            begin += size
        return 0

    def close(self) -> None:
        """Close all."""
        for file in self.files:
            file.close()
        super().close()


def joined_parts(path: Path) -> list[Path]:
    """The files of a PyTorch file: itself, or x.pt.part0, x.pt.part1, ... (evo2/models.py: load_evo2_model)."""
    whole = path.with_name(re.sub(r"\.part\d+$", "", path.name))
    if whole.is_file():
        return [whole]
    numbered = {int(p.name.rsplit(".part", 1)[1]): p for p in path.parent.glob(f"{whole.name}.part*") if _is_part(p)}
    for i in range(max(numbered, default=-1) + 1):
        if i not in numbered:
            raise HyenaError(f"{whole}.part{i} does not exist: the checkpoint is incomplete")
    return [numbered[i] for i in sorted(numbered)] or [path]


def _is_part(path: Path) -> bool:
    """Whether a name ends in .part and a number."""
    return re.search(r"\.part\d+$", path.name) is not None


class _Inert:
    """Stands in for a class that a pickle names and weights do not need; it takes any arguments and does nothing."""

    def __new__(cls, *_: Any) -> "_Inert":
        """Whatever the pickle passes."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Nothing."""

    def __setstate__(self, state: Any) -> None:
        """Nothing."""


class _Bytes(_Inert):
    """Stands in for io.BytesIO, in which Transformer Engine keeps its state: the bytes, which nobody unpickles."""

    content: bytes = b""

    def __setstate__(self, state: Any) -> None:
        """(content, position, attributes)."""
        if isinstance(state, tuple) and state and isinstance(state[0], bytes):
            self.content = state[0]


def open_pickle(path: Path) -> Pickled:
    """Name -> tensor of a PyTorch file; of a Lightning checkpoint its `state_dict`."""
    paths = joined_parts(path)
    content = _skeleton(path, paths)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise HyenaError(f"{path} holds no state_dict: it is not a checkpoint of weights")
    stored: dict[str, Stored] = {}
    kinds: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, Tensor):
            stored[name] = _stored(paths, path, value)
        elif str(name).endswith("_extra_state") and (value is None or isinstance(value, _Bytes)):
            kinds[name] = "none" if value is None else "bytes"
            stored[name] = _bytes(b"" if value is None else value.content)
        else:
            raise HyenaError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor: it is not a checkpoint of weights")
    return Pickled(stored, kinds)


def _skeleton(path: Path, paths: list[Path]) -> Any:
    """What a file holds, with tensors that have no content; foreign classes (hyper-parameters, callbacks) become inert."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # torch.load documents it; its import takes a second

    try:
        with Joined(paths) as file:
            foreign = torch.serialization.get_unsafe_globals_in_checkpoint(file)  # type: ignore[arg-type]
            names = {name: _Bytes if name == "_io.BytesIO" else _Inert for name in foreign}
            stand_ins: list[Any] = [(type(base.__name__, (base,), {}), name) for name, base in names.items()]
            file.seek(0)
            with FakeTensorMode(), torch.serialization.safe_globals(stand_ins):
                return torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
    except pickle.UnpicklingError:
        raise HyenaError(f"{path} holds objects that cannot be read without running code: save its state_dict alone") from None
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HyenaError(f"{path} is not a whole PyTorch file ({reason}): copy or download it again") from None


def _stored(paths: list[Path], path: Path, fake: Tensor) -> Stored:
    """Where a tensor's numbers are: the stretch of a storage from its first to its last."""
    shape, stride, dtype = tuple(fake.shape), fake.stride(), fake.dtype
    begin = (fake.untyped_storage()._checkpoint_offset or 0) + int(fake.storage_offset()) * dtype.itemsize
    span = 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if fake.numel() else 0

    def load() -> Tensor:
        try:
            with Joined(paths) as file:
                flat = fill(file, begin, torch.empty(span, dtype=dtype))  # type: ignore[arg-type]
        except (OSError, EOFError) as error:
            raise HyenaError(f"{path} cannot be read ({error}): copy or download it again") from None
        return flat.as_strided(shape, stride).contiguous()

    return Stored(shape, dtype, load)


def _bytes(content: bytes) -> Stored:
    """Bytes as numbers."""
    tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
    return Stored(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def write_pickle(layout: Layout, path: Path, key: str | None = None) -> None:
    """A pickle of a plain dictionary of tensors (under `key`, where one is given), a tensor at a time."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    tensors, same, kinds = layout.tensors, layout.same, layout.kinds
    with FakeTensorMode():
        empty: dict[str, Any] = {
            name: torch.empty(stored.shape, dtype=stored.dtype) for name, stored in tensors.items() if name not in kinds
        }
    for name, kind in kinds.items():
        empty[name] = io.BytesIO(bytes(numbers(tensors[name].load()))) if kind == "bytes" else None
    content = {name: empty[same.get(name, name)] for name in tensors}
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(content if key is None else {key: content}, path)
    places = _skeleton(path, [path])
    places = places if key is None else places[key]
    with path.open("r+b") as file:
        for name, stored in tensors.items():
            if name not in same and name not in kinds and torch.Size(stored.shape).numel():
                file.seek(places[name].untyped_storage()._checkpoint_offset)
                file.write(numbers(in_memory(stored.load())))
