"""Checkpoints that were trained with fp8 input projections: in another precision they are another, worse model, and say so."""

import warnings
from collections.abc import Mapping
from typing import Any

from hyena.errors import HyenaError

OPTION = "use_fp8_input_projections"


class PrecisionWarning(UserWarning):
    """A checkpoint is computed in another precision than the one it was trained for."""


def check(config: Mapping[str, Any], source: str, strict: bool) -> None:
    """One warning that names the checkpoint where its configuration asks for fp8; `HyenaError` where strict."""
    if not config.get(OPTION):
        return
    name = f"{source} ({config['model_name']})" if config.get("model_name") else source
    what = f"{name} was published for fp8 input projections ({OPTION}), which are not computed here"
    if strict:
        raise HyenaError(
            f"{what}: strict precision refuses it; use a checkpoint without fp8 (Evo 2 7B), or leave strict precision out"
        )
    warnings.warn(f"{what}: Evo 2 1B, 20B and 40B give much worse numbers so; 7B does not", PrecisionWarning, stacklevel=3)
