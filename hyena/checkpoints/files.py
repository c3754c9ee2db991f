"""Published files on disk: tensors out of safetensors and PyTorch pickles, without running anything they contain; and into
them, in a directory that appears whole or not at all.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from hyena.checkpoints.flat_yaml import read_yaml
from hyena.checkpoints.pickles import Layout, joined_parts, open_pickle, write_pickle
from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models import store
from hyena.models.tensorfile import Stored, Tensors, of, open_safetensors, write_safetensors

_NAMES = ("model.safetensors", "weights.ckpt", "pytorch_model.bin", "model.ckpt", "model.pt")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def weights_file(path: Path) -> Path:
    """The weights at a path: the file itself, or the one file, index of shards or cut file that the directory holds."""
    if not path.exists():
        parts = joined_parts(path)
        if parts[0].is_file():
            return parts[0]
        raise HyenaError(f"{path} does not exist: give a checkpoint's file or directory")
    if path.is_file():
        return path
    found = [path / name for name in _NAMES + _INDEXES if (path / name).is_file()]
    found = found or sorted(path.glob("*.pt")) or sorted(path.glob("*.part0"))
    if len(found) != 1:
        what = f"holds {', '.join(f.name for f in found)}" if found else f"holds none of {', '.join(_NAMES + _INDEXES)}, *.pt"
        raise HyenaError(f"{path} {what}: name the file to load")
    return found[0]


def published_config(path: Path, config: dict[str, Any] | str | Path | None) -> dict[str, Any]:
    """The published configuration: as given, from the file given (JSON or flat YAML), or the one beside the weights."""
    if isinstance(config, dict):
        return config
    if config is not None:
        return read_yaml(Path(config)) if Path(config).suffix in (".yml", ".yaml") else read_json(config)
    folder = path if path.is_dir() else path.parent
    beside = folder / "config.json"
    if beside.is_file():
        return read_json(beside)
    others = sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")]) if folder.is_dir() else []
    if len(others) == 1:
        return read_yaml(others[0])
    raise HyenaError(f"no configuration for {path}: there is no {beside}; pass config= with the published one")


def read_tensors(path: Path) -> Tensors:
    """Name -> tensor of a .safetensors file, of the shards of an index, or of a PyTorch file, each read when asked for."""
    if path.name.endswith(".index.json"):
        return _shards(path)
    return open_safetensors(path) if path.suffix == ".safetensors" else open_pickle(path)


def _shards(index: Path) -> Tensors:
    """The tensors of several files. Index and files must name the same ones."""
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise HyenaError(f"{index} has no weight_map: it is no index of shards")
    stored: dict[str, Stored] = {}
    for name in sorted(set(where.values())):
        for key, entry in read_tensors(index.parent / name).stored.items():
            if where.get(key) != name:
                raise HyenaError(f"{index.parent / name} holds {key}, which the index does not say: download both again")
            stored[key] = entry
    lost = next((key for key in where if key not in stored), None)
    if lost is not None:
        raise HyenaError(f"{index.parent / where[lost]} lacks {lost}, which the index names: download both again")
    return Tensors({key: stored[key] for key in where})


def write_tensors(tensors: Mapping[str, Tensor], path: Path, key: str | None = None) -> None:
    """Write a .safetensors file, or a pickle of a plain dictionary of tensors (under `key`, where one is given).

    One tensor under several names is stored once in a pickle, and once a name in safetensors.
    """
    first: dict[int, str] = {}
    for name, tensor in tensors.items():
        first.setdefault(id(tensor), name)
    same = {name: first[id(tensor)] for name, tensor in tensors.items() if first[id(tensor)] != name}
    write_stored(Layout({name: of(tensor) for name, tensor in tensors.items()}, same), path, key)


def write_stored(layout: Layout, path: Path, key: str | None = None) -> None:
    """`write_tensors` for tensors that are made when they are written."""
    if path.suffix == ".safetensors":
        write_safetensors(layout.tensors.items(), path, {"format": "pt"})
    else:
        write_pickle(layout, path, key)


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
