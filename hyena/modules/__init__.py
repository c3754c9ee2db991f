"""FLOOR 2: sequence mixers (B, L, D) -> (B, L, D), one architecture a file, and the layers around them."""

from hyena.configs.mixers import AttentionConfig, Beyond, HyenaConfig, MixerConfig
from hyena.modules.attention import Attention
from hyena.modules.gated_conv import GatedConv
from hyena.modules.hyena import Hyena, OuterHyena


def build(config: MixerConfig, width: int, max_length: int, beyond: Beyond) -> Hyena | GatedConv | Attention:
    """The mixer of a configuration: the only place that knows which class belongs to which."""
    if isinstance(config, AttentionConfig):
        return Attention(config, width)
    if not isinstance(config, HyenaConfig):
        return GatedConv(config, width)
    cls = OuterHyena if config.gating == "outer" else Hyena
    return cls(config, width, max_length, beyond)


__all__ = ["Attention", "GatedConv", "Hyena", "OuterHyena", "build"]
