"""Published files on disk: tensors out of safetensors and PyTorch pickles, without running anything they contain; and into
them, in a directory that appears whole or not at all.
"""

import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models import store
from hyena.models.store import read_safetensors, write_safetensors

_NAMES = ("model.safetensors", "weights.ckpt", "pytorch_model.bin", "model.ckpt")


def weights_file(path: Path) -> Path:
    """The weights at a path: the file itself, or the one published file name that the directory holds."""
    if not path.exists():
        raise HyenaError(f"{path} does not exist: give a checkpoint's file or directory")
    if path.is_file():
        return path
    found = [path / name for name in _NAMES if (path / name).is_file()]
    if len(found) != 1:
        what = f"holds {', '.join(f.name for f in found)}" if found else f"holds none of {', '.join(_NAMES)}"
        raise HyenaError(f"{path} {what}: name the file to load")
    return found[0]


def published_config(path: Path, config: dict[str, Any] | str | Path | None) -> dict[str, Any]:
    """The published configuration: as given, from the file given, or from config.json beside the weights."""
    if isinstance(config, dict):
        return config
    if config is not None:
        return read_json(config)
    beside = (path if path.is_dir() else path.parent) / "config.json"
    if not beside.is_file():
        raise HyenaError(f"no configuration for {path}: there is no {beside}; pass config= with the published one")
    return read_json(beside)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a .safetensors file or a PyTorch pickle; of a Lightning checkpoint its `state_dict`."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    content = _read_pickle(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise HyenaError(f"{path} holds no state_dict: it is not a checkpoint of weights")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise HyenaError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor: it is not a checkpoint of weights")
    return content


class _Inert:
    """Stands in for a class that a pickle names and weights do not need; it takes any arguments and does nothing."""

    def __new__(cls, *_: Any) -> "_Inert":
        """Whatever the pickle passes."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Nothing."""

    def __setstate__(self, state: Any) -> None:
        """Nothing."""


def _read_pickle(path: Path) -> Any:
    """A PyTorch file through the weights-only reader; foreign classes in it (hyper-parameters, callbacks) become inert."""
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise HyenaError(f"{path} holds objects that cannot be read without running code: save its state_dict alone") from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HyenaError(f"{path} is not a whole PyTorch file ({reason}): copy or download it again") from None


def write_tensors(tensors: dict[str, Tensor], path: Path, key: str | None = None) -> None:
    """Write a .safetensors file, or a pickle of a plain dictionary of tensors (under `key`, where one is given).

    One tensor under several names is stored once in a pickle, and once a name in safetensors.
    """
    if path.suffix == ".safetensors":
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        return write_safetensors(copies, path, {"format": "pt"})
    # Copies, because a view would take the whole of what it is a view of into the file.
    once = {id(tensor): tensor.detach().cpu().contiguous().clone() for tensor in tensors.values()}
    content = {name: once[id(tensor)] for name, tensor in tensors.items()}
    torch.save(content if key is None else {key: content}, path)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise `HyenaError` unless a directory may be made at `path`: nothing is there, or a model alone and `overwrite`."""
    if path.is_dir():
        names = {file.name for file in path.iterdir()}
        if names and not overwrite:
            raise HyenaError(f"{path} already exists: replace it with overwrite (--overwrite), or name another directory")
        own = {file.name for file in store.files(path)} | set(_NAMES)
        if names - own and store.is_native(path):
            own.add(str(read_json(path / store.CONFIG).get("model", {}).get("tokenizer")).removeprefix("file:"))
        if names - own:
            raise HyenaError(f"{path} holds {min(names - own)}, which is no part of a model: name another directory")
    elif path.exists():
        raise HyenaError(f"{path} is a file: name a directory")


@contextmanager
def new_directory(path: Path, overwrite: bool) -> Iterator[Path]:
    """A neighbour of `path` to write into; it takes the place of `path` when the body has ended without an exception.

    After one (Ctrl-C included) nothing is left, and what was at `path` is there still. Raises `HyenaError` as `check_free`
    does and where the directory cannot be written.
    """
    check_free(path, overwrite)
    final = path.resolve()
    part, old = (final.with_name(f".{final.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    made = [parent for parent in final.parents if not parent.exists()]
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if final.exists():
            os.rename(final, old)
        os.rename(part, final)
    except OSError as error:
        raise HyenaError(f"cannot write to {path}: {error.strerror or error}; choose another directory") from None
    finally:
        if old.exists() and not final.exists():
            os.rename(old, final)
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)
        for parent in made if not final.exists() else []:
            with suppress(OSError):
                parent.rmdir()
