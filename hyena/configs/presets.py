"""Published shapes as functions. Each returns a `ModelConfig`; the parameter counts are tested against the publications.

Sources: Hyena, arXiv 2302.10866, appendix A.4 (language models); HyenaDNA, arXiv 2306.15794, and its released configurations;
StripedHyena 1 and Evo 1, the configurations of the stripedhyena and evo repositories; StripedHyena 2, arXiv 2503.01868, and Evo
2, the configurations of the vortex and evo2 repositories. The language models count 50,264 rows: GPT-2's 50,257 symbols rounded
up to a multiple of 8; Evo counts 512 for 256 bytes. Rotary bases are those of the configurations: a checkpoint brings the
frequencies that it was trained with.
"""

from dataclasses import replace

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


def _poles(order: int) -> GatedConvConfig:
    """The gated convolution of StripedHyena 1: poles as they are published, so many a channel."""
    return GatedConvConfig(filter=ModalFilterConfig(order=order, form="cartesian"))


def sh_7b() -> ModelConfig:
    """StripedHyena-7B (Hessian and Nous): attention in every second of 32 layers; 7,646,023,680 parameters."""
    attention = AttentionConfig(heads=32, kv_heads=8, rotary_base=500_000.0, qkv_bias=False, out_bias=False)
    return ModelConfig(
        pattern=16 * "RA",
        width=4096,
        vocab_size=32_000,
        max_length=32_768,
        norm="rms",
        norm_eps=1e-5,
        mlp="gated",
        mlp_width=14_336,
        activation="silu",
        tied=False,
        mixers=Mixers(R=_poles(2), A=attention),
    )


def _evo(pattern: str, width: int, hidden: int, context: int, mixers: Mixers) -> ModelConfig:
    """What Evo 1 and Evo 2 have in common: bytes in 512 rows, eps outside of the root, gated MLPs with GELU."""
    return ModelConfig(
        pattern=pattern,
        width=width,
        vocab_size=256,
        vocab_multiple=512,
        max_length=context,
        tokenizer="bytes",
        norm="rms_outside",
        norm_eps=1e-6,
        mlp="gated",
        mlp_width=hidden,
        activation="gelu",
        mixers=mixers,
    )


def _evo1(context: int, rotary_scale: float) -> ModelConfig:
    """Evo 1: attention in layers 8, 16 and 24 of 32."""
    mixers = Mixers(R=_poles(8), A=AttentionConfig(heads=32, rotary_scale=rotary_scale))
    return _evo("RRRRRRRR ARRRRRRR ARRRRRRR ARRRRRRR", 4096, 10_928, context, mixers)


def evo1_8k() -> ModelConfig:
    """Evo 1 at 8,192 bases (also 1.5, and those for CRISPR and transposons): 6,452,781,056 parameters."""
    return _evo1(8192, 1.0)


def evo1_131k() -> ModelConfig:
    """Evo 1 at 131,072 bases, positions divided by 16: 6,452,781,056 parameters."""
    return _evo1(131_072, 16.0)


def _evo2(
    pattern: str,
    width: int,
    heads: int,
    groups: int,
    hidden: int,
    context: int,
    rotary_base: float = 10_000.0,
    rotary_scale: float = 1.0,
) -> ModelConfig:
    """StripedHyena 2 as Evo 2 is published: exported filters, GELU in the first MLP and none in those after it."""
    mixers = Mixers(
        S=ExplicitConvConfig(filter=ExplicitFilterConfig(taps=7, groups=groups)),
        M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=128, groups=groups)),
        L=RealModalConvConfig(filter=RealModalFilterConfig(order=16, form="log_poles")),
        A=AttentionConfig(heads=heads, rotary_base=rotary_base, rotary_scale=rotary_scale, qkv_bias=False),
    )
    return replace(_evo(pattern, width, hidden, context, mixers), later_activation="identity", out_init="wang")


_7B = "SMLASML SMLASML SMLASML SMLASML SMLA"
_40B = "SMLASML SMLASML SMLASML SMLASML SMLA SMLASML SMLASML SMLA"


def evo2_50m() -> ModelConfig:
    """The smallest shape that vortex has a configuration of: 11 layers of width 640."""
    return _evo2("SMLA SMLSMLA", 640, 10, 64, 1792, 8192)


def evo2_100m() -> ModelConfig:
    """vortex's next: 15 layers of width 768."""
    return _evo2("SMLA SMLSMLA SMLA", 768, 12, 64, 2048, 8192)


def evo2_1b() -> ModelConfig:
    """arcinstitute/evo2_1b_base: 25 layers of width 1920 at 8,192 bases; 1.108 B parameters."""
    return _evo2("SMLASML SMLASML SMLASML SMLA", 1920, 15, 128, 5120, 8192)


def evo2_7b_base() -> ModelConfig:
    """arcinstitute/evo2_7b_base: 32 layers of width 4096, trained at 8,192 bases; 6.481 B parameters."""
    return _evo2(_7B, 4096, 32, 256, 11_008, 32_768)


def evo2_7b_262k() -> ModelConfig:
    """arcinstitute/evo2_7b_262k: the same at 262,144 bases, positions divided by 32."""
    return _evo2(_7B, 4096, 32, 256, 11_008, 262_144, rotary_scale=32.0)


def evo2_7b() -> ModelConfig:
    """arcinstitute/evo2_7b at 1,048,576 bases, positions divided by 128, MLPs padded; 6.582 B parameters."""
    return _evo2(_7B, 4096, 32, 256, 11_264, 1_048_576, rotary_scale=128.0)


def evo2_20b() -> ModelConfig:
    """arcinstitute/evo2_20b: 24 layers of width 8192 at 1,048,576 bases."""
    return _evo2("SMLASML SMLASML SMLASML SML", 8192, 64, 512, 22_528, 1_048_576, 1e6, 128.0)


def evo2_40b_base() -> ModelConfig:
    """arcinstitute/evo2_40b_base: 50 layers of width 8192 at 8,192 bases; 40.33 B parameters."""
    return _evo2(_40B, 8192, 64, 512, 21_888, 8192, 1e6)


def evo2_40b() -> ModelConfig:
    """arcinstitute/evo2_40b at 1,048,576 bases, positions divided by 128, MLPs padded; 41.12 B parameters."""
    return _evo2(_40B, 8192, 64, 512, 22_528, 1_048_576, 1e6, 128.0)
