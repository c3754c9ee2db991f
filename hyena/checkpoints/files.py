"""Published files on disk: tensors out of safetensors and PyTorch pickles, without running anything they contain."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models.store import read_safetensors

_NAMES = ("model.safetensors", "weights.ckpt", "pytorch_model.bin")


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
