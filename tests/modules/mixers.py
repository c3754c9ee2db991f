"""The mixers that the tests build: every letter with its defaults, and the options that change what is computed."""

import torch
from torch import Tensor, nn

from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import (
    LETTERS,
    AttentionConfig,
    Beyond,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    MixerConfig,
    Mixers,
    RealModalConvConfig,
)
from hyena.modules import build

WIDTH, MAX_LENGTH = 32, 64

DEFAULTS: dict[str, MixerConfig] = {letter: getattr(Mixers(), letter) for letter in LETTERS}
VARIANTS: dict[str, MixerConfig] = {
    "H of order 3": HyenaConfig(order=3, order_scale=True, short_taps=5, activation="gelu"),
    "H of order 4, bare": HyenaConfig(order=4, skip=False, filter=ImplicitFilterConfig(window="none", inner_layers=0)),
    "H with outer gates": HyenaConfig(gating="outer", order=3, filter=ImplicitFilterConfig(train_features=True, shift=0.05)),
    "H with normed taps": HyenaConfig(filter=ImplicitFilterConfig(features=3, channel_norm=True, width=8)),
    "distilled H": HyenaConfig(modal=ModalFilterConfig(order=3, head=6)),
    "distilled H of order 3": HyenaConfig(order=3, order_scale=True, modal=ModalFilterConfig(order=2)),
    "distilled H with outer gates": HyenaConfig(gating="outer", modal=ModalFilterConfig(order=2, head=1)),
    "R of one pole, bare": GatedConvConfig(
        skip=False, in_bias=False, out_bias=False, short_taps=2, filter=ModalFilterConfig(order=1)
    ),
    "R with a head": GatedConvConfig(short_taps=1, filter=ModalFilterConfig(order=3, head=5)),
    "R with a long head": GatedConvConfig(filter=ModalFilterConfig(order=2, head=40, r_min=0.5)),
    "R of cartesian poles": GatedConvConfig(filter=ModalFilterConfig(order=3, form="cartesian")),
    "R of cartesian poles with a head, unshortened": GatedConvConfig(
        short_taps=0, filter=ModalFilterConfig(order=2, head=3, form="cartesian")
    ),
    "S in groups, with all": ExplicitConvConfig(
        short_taps=4, short_bias=True, skip=True, in_bias=True, filter=ExplicitFilterConfig(taps=4, groups=8)
    ),
    "S of one tap": ExplicitConvConfig(short_taps=2, out_bias=False, filter=ExplicitFilterConfig(taps=1)),
    "M in groups": ExplicitConvConfig(
        skip=True, filter=ExplicitFilterConfig(taps=20, groups=2, decay="strong", decay_length=30)
    ),
    "M of one group": ExplicitConvConfig(filter=ExplicitFilterConfig(taps=128, groups=1, decay="normal", decay_length=90)),
    "L of one log pole, bare": RealModalConvConfig(
        skip=False, out_bias=False, short_taps=2, filter=RealModalFilterConfig(order=1, form="log_poles")
    ),
    "L with all": RealModalConvConfig(short_bias=True, in_bias=True, filter=RealModalFilterConfig(form="log_poles")),
    "D in groups, with biases": ExplicitConvConfig(
        short_taps=0, in_bias=True, skip=True, filter=ExplicitFilterConfig(taps=3, groups=16)
    ),
    "A in groups": AttentionConfig(heads=4, kv_heads=2, rotary_width=4, qkv_bias=False, out_bias=False),
    "A without positions": AttentionConfig(heads=2, rotary_width=0),
    "A at scaled positions": AttentionConfig(heads=2, rotary_base=500.0, rotary_scale=16.0, qkv_bias=False),
    "W of 1": AttentionConfig(window=1),
    "W of 5, in groups": AttentionConfig(heads=4, kv_heads=1, window=5),
}
ALL = DEFAULTS | VARIANTS


def mixer(config: MixerConfig, dtype: torch.dtype = torch.float64, beyond: Beyond = "error") -> nn.Module:
    """A mixer at width 32 for up to 64 tokens, in evaluation mode."""
    return build(config, WIDTH, MAX_LENGTH, beyond).to(dtype).eval()


def signal(B: int = 2, L: int = MAX_LENGTH, dtype: torch.dtype = torch.float64) -> Tensor:
    """x (B, L, 32)."""
    return torch.randn(B, L, WIDTH, dtype=torch.float64).to(dtype)
