"""What the tests of transformers share."""

from pathlib import Path

import torch
from torch import Tensor

from hyena.configs.filters import ExplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import ExplicitConvConfig, GatedConvConfig, HyenaConfig, Mixers, RealModalConvConfig
from hyena.integrations.transformers import HyenaForCausalLM, wrap
from hyena.models import LanguageModel
from tests.models.small import MIXERS, language_model

OTHER = Mixers(
    H=HyenaConfig(modal=ModalFilterConfig(order=4, head=3)),
    R=GatedConvConfig(filter=ModalFilterConfig(order=4, form="cartesian")),
    M=ExplicitConvConfig(filter=ExplicitFilterConfig(taps=9, groups=4, decay="strong", decay_length=32)),
    L=RealModalConvConfig(filter=RealModalFilterConfig(order=4, form="log_poles")),
    W=MIXERS.W,
)
"""Every filter and form that the defaults do not have."""
MODELS = {letter: {"pattern": letter} for letter in "HRSMLDAW"} | {
    "H, published window": {"pattern": "H", "mixers": Mixers()},
    "other forms": {"pattern": "HRMLW", "mixers": OTHER},
    "untied, rounded up": {"pattern": "SH", "tied": False, "vocab_multiple": 8, "norm": "rms_outside", "mlp": "gated"},
    "positions": {"pattern": "A", "position_rows": 64},
}
"""Options of small models that together have every letter, filter and form."""


def small(name: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """One of `MODELS`."""
    return language_model(dtype=dtype, **MODELS[name])


def dressed(pattern: str = "HRA", **options: object) -> HyenaForCausalLM:
    """A small float32 model of transformers, in evaluation mode."""
    model = wrap(language_model(pattern, torch.float32, **options))
    assert isinstance(model, HyenaForCausalLM)
    return model


def padded(rows: list[Tensor], side: str = "left", pad: int = 3) -> tuple[Tensor, Tensor]:
    """Ids (B, L) and their mask."""
    longest = max(map(len, rows))
    ids, mask = torch.full((2, len(rows), longest), pad).unbind(0)
    mask = torch.zeros_like(mask)
    for row, each in enumerate(rows):
        place = slice(longest - len(each), None) if side == "left" else slice(0, len(each))
        ids[row, place], mask[row, place] = each, 1
    return ids, mask


def files(directory: Path) -> set[str]:
    """Names in a directory."""
    return {path.name for path in directory.iterdir()}
