"""`Published`: what a published checkpoint holds beside our weights, kept word for word so that it can be written again.

Our configuration and weights are the model; nothing here changes what it computes. Scales of fp8, precisions, half-precise
frequencies and the order of keys are what the published code finds again when the model goes back to its format.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models.tensorfile import open_safetensors, save_file

CONFIG = "published.json"
TENSORS = "published.safetensors"
FILES = (CONFIG, TENSORS)
VERSION = 1


@dataclass(frozen=True)
class Published:
    """Where a model came from."""

    format: str
    config: dict[str, Any]
    """The published configuration, as it was."""
    keys: tuple[str, ...] = ()
    """The keys of the published file, in its order."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """Our name -> dtype in the file, where the model holds another."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Key -> what it is in the file, where that is no tensor: "bytes" (io.BytesIO) or "none"; in `tensors` as numbers."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Key -> what is kept word for word."""

    def facts(self) -> dict[str, Any]:
        """All but the tensors, for JSON."""
        return {
            "format": self.format,
            "config": self.config,
            "keys": list(self.keys),
            "dtypes": self.dtypes,
            "kinds": self.kinds,
        }


def write(published: Published, place: Callable[[str], Path], save_id: str) -> None:
    """Into the two files whose paths `place` gives."""
    save_file(published.tensors, place(TENSORS), {"save_id": save_id})
    facts = {"published_version": VERSION, "save_id": save_id, **published.facts()}
    place(CONFIG).write_text(json.dumps(facts, indent=1) + "\n")


def read(directory: Path, save_id: str | None) -> Published | None:
    """What `write` wrote, or none. Raises `HyenaError` for files of another save or version."""
    file = directory / CONFIG
    if not file.is_file():
        return None
    facts = read_json(file)
    if facts.get("published_version") != VERSION:
        raise HyenaError(f"{file} has version {facts.get('published_version')!r}, this hyena reads {VERSION}: update hyena")
    tensors = open_safetensors(directory / TENSORS)
    for found, name in ((facts.get("save_id"), CONFIG), (tensors.metadata.get("save_id"), TENSORS)):
        if found != save_id:
            raise HyenaError(f"{directory / name} and the weights come from two different saves: convert the model again")
    try:
        return Published(facts["format"], facts["config"], tuple(facts["keys"]), facts["dtypes"], facts["kinds"], dict(tensors))
    except KeyError as error:
        raise HyenaError(f"{file} lacks the key {error}: convert the model again") from None
