"""The native format: config.json + model.safetensors (sharded when large) + the tokenizer's file, in one directory.

Every file is written beside its place and moved there when all are complete, config.json last; configuration and weights
carry the same `save_id`, so files of two saves cannot be mistaken for one.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.configs.files import newer, read_json
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import published
from hyena.models.published import Published
from hyena.models.tensorfile import Stored, Tensors, in_memory, numbers, open_safetensors, save_file
from hyena.modules.precision import Float32Module
from hyena.version import __version__

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FORMAT = "hyena"
VERSION = 1
SHARD_BYTES = 4 * 2**30
KNOWN = "known.safetensors"
"""A known input and its logits, where a conversion recorded them: `hyena verify` computes them again."""
RUN_CHECKPOINTS = "checkpoints"
"""Where a training run keeps its checkpoints, each a saved model in a directory `step-00000600`."""


def is_native(directory: Path) -> bool:
    """Whether the directory's config.json says that it is ours."""
    return (directory / CONFIG).is_file() and read_json(directory / CONFIG).get("format") == FORMAT


def run_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a training run, the newest last; none where the directory is no run."""
    return sorted(path for path in (directory / RUN_CHECKPOINTS).glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name))


def resolve(directory: Path) -> Path:
    """Where a directory's model is: in it, or, of a run that is not finished, in its newest checkpoint."""
    if not (directory / CONFIG).exists() and (checkpoints := run_checkpoints(directory)):
        return checkpoints[-1]
    return directory


def remove(directory: Path) -> None:
    """Take a saved model away, config.json first, so that no half of it can be loaded."""
    for path in files(directory):
        path.unlink(missing_ok=True)


def files(directory: Path) -> list[Path]:
    """The files a saved model may consist of, config.json first; they need not exist."""
    return [directory / CONFIG, *_weight_files(directory), *(directory / name for name in (*published.FILES, KNOWN))]


def _weight_files(directory: Path) -> list[Path]:
    """What saves may have left in a directory."""
    own = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
    return [path for path in directory.glob("model*.safetensors") if own.fullmatch(path.name)] + [directory / INDEX]


def save(model: Any, directory: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a model (see `Model.save`). Raises `HyenaError` where the directory cannot be written or a tokenizer is missing."""
    tokenizer = _tokenizer_source(model)
    tensors = {name: in_memory(tensor) for name, tensor in model.state_dict().items()}
    config = {
        "format": FORMAT,
        "format_version": VERSION,
        "model_type": FORMAT,  # this and the dtype of most weights are what transformers looks for; hyena reads neither
        "dtype": str(model.backbone.embedding.weight.dtype).removeprefix("torch."),
        "kind": model.kind,
        "head": model.head_options(),
        "model": model.config.to_dict() | ({} if tokenizer is None else {"tokenizer": f"file:{tokenizer.name}"}),
    }
    config["save_id"] = _identity(config, tensors)
    config["hyena_version"] = __version__
    made = [place for place in (directory, *directory.absolute().parents) if not place.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory, config, _shards(tensors, shard_bytes), tokenizer, model.published)
    except OSError as error:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        reason = error.strerror or error
        raise HyenaError(f"cannot save to {directory}: {reason}; make room or choose another directory") from error


def _write(
    directory: Path,
    config: dict[str, Any],
    shards: dict[str, dict[str, Tensor]],
    tokenizer: Path | None,
    extras: Published | None,
) -> None:
    """All files complete under temporary names, then moved, then what an earlier save left behind removed."""
    finished: list[tuple[Path, Path]] = []

    def place(name: str) -> Path:
        finished.append((directory / f".{name}.{os.getpid()}.part", directory / name))
        return finished[-1][0]

    try:
        for name, tensors in shards.items():
            write_safetensors(tensors, place(name), {"save_id": config["save_id"]})
        if len(shards) > 1:
            where = {tensor: name for name, tensors in shards.items() for tensor in tensors}
            place(INDEX).write_text(json.dumps({"metadata": {"save_id": config["save_id"]}, "weight_map": where}, indent=1))
        if tokenizer is not None and tokenizer.resolve() != (directory / tokenizer.name).resolve():
            shutil.copyfile(tokenizer, place(tokenizer.name))
        if extras is not None:
            published.write(extras, place, config["save_id"])
        place(CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        for part, final in finished:
            os.replace(part, final)
    finally:
        for part, _ in finished:
            part.unlink(missing_ok=True)
    for path in set(files(directory)) - {final for _, final in finished}:
        path.unlink(missing_ok=True)


def _tokenizer_source(model: Any) -> Path | None:
    """The file behind a `file:NAME` tokenizer, which must travel with the model."""
    spec = model.config.tokenizer
    if spec is None or not spec.startswith("file:"):
        return None
    path = model.tokenizer_file or Path(spec.removeprefix("file:"))
    if not path.is_file():
        raise HyenaError(f"the tokenizer file {path} does not exist: set model.tokenizer_file to where it is")
    return path


def _identity(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """A hash of everything that is saved: the same model has the same identity."""
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=12)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(numbers(tensor))
    return digest.hexdigest()


def _shards(tensors: dict[str, Tensor], limit: int) -> dict[str, dict[str, Tensor]]:
    """File name -> tensors, in order, each file up to `limit` bytes."""
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if groups[-1] and size + tensor.nbytes > limit:
            groups.append({})
            size = 0
        groups[-1][name] = tensor
        size += tensor.nbytes
    if len(groups) == 1:
        return {WEIGHTS: groups[0]}
    return {f"model-{i:05}-of-{len(groups):05}.safetensors": group for i, group in enumerate(groups, 1)}


@dataclass(frozen=True)
class Saved:
    """What a directory holds."""

    kind: str
    head: dict[str, Any]
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    """Each read from disk when it is asked for."""
    tokenizer_file: Path | None
    published: Published | None


def read(directory: Path) -> Saved:
    """Read a native directory. Raises `HyenaError` for whatever is missing, broken or from two different saves."""
    file = directory / CONFIG
    values = read_json(file)
    config = settings(values, str(file))
    spec = config.tokenizer or ""
    tokenizer = directory / spec.removeprefix("file:") if spec.startswith("file:") else None
    tensors = read_weights(directory, values.get("save_id"))
    extras = published.read(directory, values.get("save_id"))
    return Saved(values.get("kind", ""), values.get("head", {}), config, tensors, tokenizer, extras)


def settings(values: Mapping[str, Any], file: str) -> ModelConfig:
    """What the values of a config.json of ours say of the model; file: its name, for errors."""
    if values.get("format") != FORMAT:
        raise HyenaError(f"{file} is not a hyena configuration: pass format= for published weights")
    if values.get("format_version") != VERSION:
        raise HyenaError(
            f"{file} has format version {values.get('format_version')!r}, this hyena reads {VERSION}: update hyena"
        )
    try:
        return ModelConfig.from_dict(values.get("model", {}), f"{file}: model")
    except HyenaError as error:
        raise HyenaError(f"{error}{newer(values.get('hyena_version'))}") from None


def assign(model: torch.nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Give a model built on the meta device its tensors; every name and shape must fit, or `HyenaError` names what does not."""
    check_fit(model, tensors, source)
    model.load_state_dict({name: aligned(tensor) for name, tensor in tensors.items()}, assign=True)
    for module in model.modules():
        if isinstance(module, Float32Module):
            module.widen()


def wide_names(model: torch.nn.Module) -> set[str]:
    """The tensors that `assign` raises to float32 where a file holds half precision."""
    inside = [(prefix, module) for prefix, module in model.named_modules() if isinstance(module, Float32Module)]
    return {f"{prefix}.{name}" for prefix, module in inside for name in module.state_dict()}


def aligned(tensor: Tensor) -> Tensor:
    """The tensor at an address like those that PyTorch gives: others are slower, and add up in another order."""
    return tensor.clone() if tensor.device.type == "cpu" and tensor.data_ptr() % 64 else tensor


def check_fit(model: torch.nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `HyenaError` naming the tensors that a model lacks, does not know or has in another shape."""
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        raise HyenaError(f"{source} does not fit its configuration: missing {_some(missing)}; unknown {_some(extra)}")
    found: Mapping[str, Tensor | Stored] = tensors.stored if isinstance(tensors, Tensors) else tensors
    for name in sorted(found):
        if tuple(found[name].shape) != tuple(wanted[name].shape):
            shapes = f"{tuple(found[name].shape)}, the configuration says {tuple(wanted[name].shape)}"
            raise HyenaError(f"{source}: {name} has shape {shapes}")


def _some(names: list[str]) -> str:
    """A few names and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"


def read_weights(directory: Path, save_id: str | None) -> Tensors:
    """The tensors of a native directory, of one file or of the shards its index names, each read when it is asked for."""
    if (directory / INDEX).is_file():
        names = sorted(set(read_json(directory / INDEX).get("weight_map", {}).values()))
    else:
        names = [WEIGHTS]
    stored: dict[str, Stored] = {}
    for name in names:
        shard = open_safetensors(directory / name)
        if shard.metadata.get("save_id") != save_id:
            raise HyenaError(f"{directory / name} and {CONFIG} come from two different saves: save the model again")
        stored |= shard.stored
    return Tensors(stored)


def write_safetensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file, a tensor at a time."""
    save_file(tensors, path, metadata=metadata)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; one line that names it where it is missing, truncated or corrupt."""
    found = open_safetensors(path)
    return dict(found), found.metadata
