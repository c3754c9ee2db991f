"""FLOOR 4: published formats <-> our models. Every quirk of a format is undone here and nowhere else."""

from pathlib import Path
from typing import Any

from torch import nn

from hyena.checkpoints import safari
from hyena.checkpoints.exporter import convert, export
from hyena.checkpoints.files import published_config, read_tensors, weights_file
from hyena.checkpoints.loader import FORMATS, load
from hyena.checkpoints.precision import PrecisionWarning
from hyena.checkpoints.verifier import verify
from hyena.configs.files import nearest
from hyena.errors import HyenaError

MIXER_FORMATS = {"safari": safari.CHANNEL_FIRST, "safari-standalone": safari.ORDER_FIRST}


def load_mixer(path: str | Path, format: str, config: dict[str, Any] | str | Path) -> nn.Module:
    """A bare published operator as our mixer, (B, L, D) -> (B, L, D), in evaluation mode.

    format: "safari" (src/models/sequence/hyena.py) or "safari-standalone" (standalone_hyena.py); the same weights are
    another function in the other for order > 2. config: the operator's arguments.
    """
    if format not in MIXER_FORMATS:
        raise HyenaError(f"unknown format {format!r}{nearest(format, MIXER_FORMATS)}: use one of {', '.join(MIXER_FORMATS)}")
    file = weights_file(Path(path))
    return safari.operator(read_tensors(file), published_config(file, config), MIXER_FORMATS[format], str(file))


__all__ = ["FORMATS", "PrecisionWarning", "convert", "export", "load", "load_mixer", "verify"]
