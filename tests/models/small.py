"""Small models for the tests of this room."""

import torch
from torch import Tensor

from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import (
    AttentionConfig,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    Mixers,
    RealModalConvConfig,
)
from hyena.configs.model import ModelConfig
from hyena.models import Classifier, LanguageModel

MIXERS = Mixers(
    H=HyenaConfig(order=3, order_scale=True, filter=ImplicitFilterConfig(features=5, width=8, train_features=True)),
    W=AttentionConfig(window=5),
)
"""Options that differ from the defaults, where a letter has them."""
STRIPED = Mixers(
    R=GatedConvConfig(filter=ModalFilterConfig(order=3, form="cartesian")),
    S=ExplicitConvConfig(filter=ExplicitFilterConfig(taps=7, groups=4)),
    M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=20, groups=2)),
    L=RealModalConvConfig(filter=RealModalFilterConfig(order=5, form="log_poles")),
    A=AttentionConfig(heads=4, kv_heads=2, rotary_scale=4.0, qkv_bias=False),
)
"""The letters of StripedHyena as they are published: poles, taps in groups, log poles, heads in groups."""
HYBRIDS = ["SMLA SMLA", "RRAR", "DSWH"]


def small(pattern: str = "HAW", **options: object) -> ModelConfig:
    """A configuration of width 16 over 10 symbols, for up to 64 tokens."""
    defaults: dict[str, object] = {"width": 16, "vocab_size": 10, "max_length": 64, "init_std": 0.02, "mixers": MIXERS}
    return ModelConfig(pattern=pattern, **defaults | options)


def language_model(pattern: str = "HAW", dtype: torch.dtype = torch.float64, **options: object) -> LanguageModel:
    """A language model in evaluation mode, with weights of about 0.3 so that every layer matters."""
    return loud(LanguageModel(small(pattern, **options)).to(dtype).eval())


def classifier(pattern: str = "HAW", dtype: torch.dtype = torch.float64, **head: object) -> Classifier:
    """A classifier, likewise."""
    return loud(Classifier(small(pattern), **head).to(dtype).eval())


def loud(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its small initial weights enlarged."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2 and ".filter." not in name:
                parameter.mul_(10)
    return model


def ids(B: int = 2, L: int = 20) -> Tensor:
    """Token ids (B, L)."""
    return torch.randint(0, 10, (B, L))
