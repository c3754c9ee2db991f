"""Published shapes as functions. Each returns a `ModelConfig`; the parameter counts are tested against the publications.

Sources: Hyena, arXiv 2302.10866, appendix A.4 (language models); HyenaDNA, arXiv 2306.15794, and its released configurations.
The language models count 50,264 rows: GPT-2's 50,257 symbols rounded up to a multiple of 8.
"""

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig

_INIT_STD = 0.02


def published_filter(features: int, frequency: float, shift: float = 0.0) -> ImplicitFilterConfig:
    """The filters of the published models, whatever the defaults are."""
    return ImplicitFilterConfig(
        features=features,
        width=64,
        inner_layers=2,
        frequency=frequency,
        decay_target=1e-2,
        fast_decay=0.3,
        slow_decay=1.5,
        shift=shift,
        init_std=None,
    )


def _language_model(depth: int, width: int, hidden: int, order: int) -> ModelConfig:
    """The language models of the Hyena paper: filters of width 64 and depth 4, sine frequency 14."""
    return ModelConfig(
        pattern=depth * "H",
        width=width,
        vocab_size=50257,
        vocab_multiple=8,
        mlp_width=hidden,
        max_length=2048,
        init_std=_INIT_STD,
        mixers=Mixers(H=HyenaConfig(order=order, short_taps=3, filter=published_filter(features=33, frequency=14.0))),
    )


def hyena_125m(order: int = 2) -> ModelConfig:
    """The WikiText-103 model: 12 layers of width 768; 124.5 M parameters at order 2, 132.2 M at order 3."""
    return _language_model(12, 768, 3072, order)


def hyena_125m_slim(order: int = 2) -> ModelConfig:
    """18 layers of width 768 with narrow MLPs; 124.9 M parameters at order 2, 136.5 M at order 3."""
    return _language_model(18, 768, 1536, order)


def hyena_153m() -> ModelConfig:
    """The Pile model: 18 layers of width 864; 152.5 M parameters."""
    return _language_model(18, 864, 1728, 2)


def hyena_355m() -> ModelConfig:
    """36 layers of width 1024; 357.1 M parameters."""
    return _language_model(36, 1024, 2048, 2)


def hyena_1b3() -> ModelConfig:
    """36 layers of width 2048; 1.318 B parameters."""
    return _language_model(36, 2048, 4096, 2)


def _hyenadna(depth: int, width: int, context: int) -> ModelConfig:
    """The released HyenaDNA models: 12 symbols in 16 rows, a grid of context + 2 tokens, window shift 0.05."""
    return ModelConfig(
        pattern=depth * "H",
        width=width,
        vocab_size=12,
        vocab_multiple=8,
        max_length=context + 2,
        tokenizer="dna",
        embed_dropout=0.1,
        init_std=_INIT_STD,
        mixers=Mixers(H=HyenaConfig(short_taps=3, filter=published_filter(features=5, frequency=10.0, shift=0.05))),
    )


def hyenadna_tiny_1k() -> ModelConfig:
    """LongSafari/hyenadna-tiny-1k: 436,096 parameters."""
    return _hyenadna(2, 128, 1024)


def hyenadna_tiny_1k_d256() -> ModelConfig:
    """LongSafari/hyenadna-tiny-1k-d256: 1,641,088 parameters."""
    return _hyenadna(2, 256, 1024)


def hyenadna_tiny_16k() -> ModelConfig:
    """LongSafari/hyenadna-tiny-16k-d128: 436,096 parameters."""
    return _hyenadna(2, 128, 16384)


def hyenadna_small_32k() -> ModelConfig:
    """LongSafari/hyenadna-small-32k: 3,277,568 parameters."""
    return _hyenadna(4, 256, 32768)


def hyenadna_medium_160k() -> ModelConfig:
    """LongSafari/hyenadna-medium-160k: 6,550,528 parameters."""
    return _hyenadna(8, 256, 160_000)


def hyenadna_medium_450k() -> ModelConfig:
    """LongSafari/hyenadna-medium-450k: 6,550,528 parameters."""
    return _hyenadna(8, 256, 450_000)


def hyenadna_large_1m() -> ModelConfig:
    """LongSafari/hyenadna-large-1m: 6,550,528 parameters."""
    return _hyenadna(8, 256, 1_000_000)
