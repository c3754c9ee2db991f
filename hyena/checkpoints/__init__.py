"""FLOOR 4: published formats <-> our models. Every quirk of a format is undone here and nowhere else."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hyena.checkpoints import hyenadna, safari
from hyena.checkpoints.exporter import convert, export
from hyena.checkpoints.files import published_config, read_tensors, weights_file
from hyena.configs.files import nearest, read_json
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel, store
from hyena.models import load as load_native

FORMATS = ("safari", "hyenadna", "hyenadna-hf")
MIXER_FORMATS = {"safari": safari.CHANNEL_FIRST, "safari-standalone": safari.ORDER_FIRST}


def load(
    path: str | Path, format: str | None = None, config: dict[str, Any] | str | Path | None = None
) -> LanguageModel | Classifier:
    """A model from disk, in evaluation mode: ours (a directory written by `model.save`) or a published checkpoint.

    path: a directory, or a file of weights (.safetensors, .ckpt, .pt, .bin; pickles are read without running their code).
    format: "safari", "hyenadna" (the original checkpoint), "hyenadna-hf" or "hyena" (ours); not needed where the directory
    tells it.
    config: the published configuration, a dictionary or a JSON file; config.json beside the weights where not given.

    Every key of file and configuration is used exactly once. Raises `HyenaError` naming what does not fit.
    """
    path = store.resolve(Path(path)) if format in (None, store.FORMAT) else Path(path)
    if format == store.FORMAT or (format is None and path.is_dir() and store.is_native(path)):
        if config is not None:
            raise HyenaError(f"{path} carries its own configuration: leave config= out")
        return load_native(path)
    format = format or _recognise(path)
    if format not in FORMATS:
        raise HyenaError(f"unknown format {format!r}{nearest(format, FORMATS)}: use one of {', '.join(FORMATS)}, hyena")
    file = weights_file(path)
    published = published_config(path, config)
    tensors, source = read_tensors(file), str(file)
    head = None
    if format == "safari":
        ours, values = safari.language_model(tensors, published, source)
    elif format == "hyenadna":
        ours, head, values = hyenadna.original(tensors, published, source)
    else:
        ours, head, values = hyenadna.transformers_port(tensors, published, source)
    with torch.device("meta"):
        model = LanguageModel(ours) if head is None else Classifier(ours, **head)
    store.assign(model, values, source)
    return model.eval()


def load_mixer(path: str | Path, format: str, config: dict[str, Any] | str | Path) -> nn.Module:
    """A bare published operator as our mixer, (B, L, D) -> (B, L, D), in evaluation mode.

    format: "safari" (src/models/sequence/hyena.py) or "safari-standalone" (standalone_hyena.py); the same weights are
    another function in the other for order > 2. config: the operator's arguments.
    """
    if format not in MIXER_FORMATS:
        raise HyenaError(f"unknown format {format!r}{nearest(format, MIXER_FORMATS)}: use one of {', '.join(MIXER_FORMATS)}")
    file = weights_file(Path(path))
    return safari.operator(read_tensors(file), published_config(file, config), MIXER_FORMATS[format], str(file))


def _recognise(path: Path) -> str:
    """The format of a published directory, where its config.json and file names tell it."""
    if not path.exists():
        raise HyenaError(f"{path} does not exist: give a checkpoint's file or directory")
    if path.is_dir() and (path / "config.json").is_file():
        if read_json(path / "config.json").get("model_type") == "hyenadna":
            return "hyenadna-hf"
        if (path / "weights.ckpt").is_file():  # the layout of the LongSafari/hyenadna-*-seqlen releases alone
            return "hyenadna"
    if (path / "run.toml").is_file():
        raise HyenaError(f"{path} holds a run without a checkpoint yet: go on with `hyena train {path} --resume`")
    if path.is_file() and store.is_native(path.parent):
        raise HyenaError(f"{path} is part of the model in {path.parent}: load that directory")
    raise HyenaError(f"{path} does not say what it is: pass format= one of {', '.join(FORMATS)}")


__all__ = ["FORMATS", "convert", "export", "load", "load_mixer"]
