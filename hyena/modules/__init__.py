"""FLOOR 2: sequence mixers (B, L, D) -> (B, L, D), one architecture a file, and the layers around them."""

from hyena.configs.mixers import AttentionConfig, Beyond, MixerConfig
from hyena.modules.attention import Attention
from hyena.modules.hyena import Hyena, OuterHyena


def build(config: MixerConfig, width: int, max_length: int, beyond: Beyond) -> Hyena | Attention:
    """The mixer of a configuration: the only place that knows which class belongs to which."""
    if isinstance(config, AttentionConfig):
        return Attention(config, width)
    cls = OuterHyena if config.gating == "outer" else Hyena
    return cls(config, width, max_length, beyond)


__all__ = ["Attention", "Hyena", "OuterHyena", "build"]
