"""Every knob of every sequence mixer, and the letters that stand for them in a pattern.

A knob is written once, here; the module that uses it takes the whole dataclass. What a mixer shares with its model
(width, `max_length`, `beyond`) belongs to `ModelConfig`.
"""

from dataclasses import dataclass, field
from typing import Literal

from hyena.configs.files import validate
from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.errors import HyenaError

Beyond = Literal["error", "truncate", "extend"]
Activation = Literal["identity", "gelu", "gelu_tanh", "relu", "silu", "sigmoid", "tanh"]


def _check_dropout(dropout: float) -> None:
    """A probability below 1."""
    if not 0 <= dropout < 1:
        raise HyenaError(f"dropout is {dropout}: use a number from 0 up to, not including, 1")


@dataclass(frozen=True)
class HyenaConfig:
    """H: the Hyena recurrence of order N over implicit filters (arXiv 2302.10866, definition 3.1)."""

    order: int = 2
    """N: gates applied; the released code has N - 1 long convolutions, so order 2 has one."""
    short_taps: int = 3
    """Taps of the depthwise convolution after the input projection."""
    activation: Activation = "identity"
    """Applied after the last gate, before the output projection."""
    gating: Literal["elementwise", "outer"] = "elementwise"
    """How a gate multiplies: channel by channel, or with the gate's sum over channels (safari's `outer_mixing`)."""
    order_scale: bool = False
    """A trainable scalar after each long convolution (safari's `post_order_ffn` with one head)."""
    skip: bool = True
    """The per-channel skip term beside each long convolution (safari's `bias`)."""
    dropout: float = 0.0
    """Dropout before each long convolution."""
    filter: ImplicitFilterConfig = field(default_factory=ImplicitFilterConfig)
    """The long filters."""
    modal: ModalFilterConfig | None = None
    """Modal filters in place of the implicit ones, as distillation makes them: every token then costs the same."""

    def __post_init__(self) -> None:
        """Reject orders and taps that do not exist."""
        validate(self)
        _check_dropout(self.dropout)
        if self.order < 2:
            raise HyenaError(f"order is {self.order}: Hyena starts at order 2 (one long convolution)")
        if self.short_taps < 1:
            raise HyenaError(f"short_taps is {self.short_taps}: use at least 1")


@dataclass(frozen=True)
class AttentionConfig:
    """A: causal softmax attention with grouped key/value heads and rotary positions; W: the same within a window."""

    heads: int | None = None
    """Query heads; none given: the fewest of width at most 64 that divide the model's width."""
    kv_heads: int | None = None
    """Key/value heads, a divisor of heads (grouped-query attention); none given: as many as heads."""
    rotary_width: int | None = None
    """Leading channels of a head that are rotated (even); none given: all; 0: no rotary positions."""
    rotary_base: float = 10000.0
    """Base of the rotary frequencies."""
    rotary_scale: float = 1.0
    """Positions are divided by it: a model trained at length L reads rotary_scale L tokens after some more training."""
    window: int | None = None
    """A token attends to itself and the window - 1 tokens before it; none given: to all before it."""
    qkv_bias: bool = True
    """Bias of the query, key and value projections."""
    out_bias: bool = True
    """Bias of the output projection."""
    dropout: float = 0.0
    """Dropout of the attention weights."""

    def __post_init__(self) -> None:
        """Reject windows and rotations that do not exist."""
        validate(self)
        _check_dropout(self.dropout)
        if not self.rotary_base > 0:
            raise HyenaError(f"rotary_base is {self.rotary_base}: use a number above 0")
        if not self.rotary_scale > 0:
            raise HyenaError(f"rotary_scale is {self.rotary_scale}: use a number above 0")
        if self.window is not None and self.window < 1:
            raise HyenaError(f"window is {self.window}: use at least 1, or none for full attention")
        if self.rotary_width is not None and (self.rotary_width < 0 or self.rotary_width % 2):
            raise HyenaError(f"rotary_width is {self.rotary_width}: use an even number, or 0 for none")


@dataclass(frozen=True)
class GatedConvConfig:
    """R: one long convolution between two gates, its filter a complex modal one (StripedHyena 1)."""

    short_taps: int = 3
    """Taps of the depthwise convolution after the input projection; 0: none."""
    short_bias: bool = True
    """Bias of that convolution."""
    skip: bool = True
    """The per-channel skip term beside the long convolution."""
    in_bias: bool = True
    """Bias of the input projection."""
    out_bias: bool = True
    """Bias of the output projection."""
    filter: ModalFilterConfig = field(default_factory=ModalFilterConfig)
    """The long filters."""

    def __post_init__(self) -> None:
        """Reject taps that do not exist."""
        validate(self)
        _check_short_taps(self.short_taps)


@dataclass(frozen=True)
class ExplicitConvConfig:
    """S, M, D: a convolution of some taps between two gates, its filter explicit (StripedHyena 2: SE and MR; LFM2)."""

    short_taps: int = 3
    """Taps of the depthwise convolution after the input projection; 0: none."""
    short_bias: bool = False
    """Bias of that convolution."""
    skip: bool = False
    """The per-channel skip term beside the long convolution."""
    in_bias: bool = False
    """Bias of the input projection."""
    out_bias: bool = True
    """Bias of the output projection."""
    filter: ExplicitFilterConfig = field(default_factory=lambda: ExplicitFilterConfig(taps=7))
    """The filters."""

    def __post_init__(self) -> None:
        """Reject taps that do not exist."""
        validate(self)
        _check_short_taps(self.short_taps)


@dataclass(frozen=True)
class RealModalConvConfig:
    """L: one long convolution between two gates, its filter a real modal one (StripedHyena 2: LI)."""

    short_taps: int = 3
    """Taps of the depthwise convolution after the input projection; 0: none."""
    short_bias: bool = False
    """Bias of that convolution."""
    skip: bool = True
    """The per-channel skip term beside the long convolution."""
    in_bias: bool = False
    """Bias of the input projection."""
    out_bias: bool = True
    """Bias of the output projection."""
    filter: RealModalFilterConfig = field(default_factory=RealModalFilterConfig)
    """The long filters."""

    def __post_init__(self) -> None:
        """Reject taps that do not exist."""
        validate(self)
        _check_short_taps(self.short_taps)


def _check_short_taps(short_taps: int) -> None:
    """As many as there can be."""
    if short_taps < 0:
        raise HyenaError(f"short_taps is {short_taps}: use 0 for no short convolution")


def _medium() -> ExplicitConvConfig:
    """M as Evo 2 was trained."""
    return ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=128, decay="weak"))


def _double_gated() -> ExplicitConvConfig:
    """D as LFM2 has it."""
    return ExplicitConvConfig(short_taps=0, out_bias=False, filter=ExplicitFilterConfig(taps=3))


GatedConfig = GatedConvConfig | ExplicitConvConfig | RealModalConvConfig
"""One convolution between two gates, by its filter."""
MixerConfig = HyenaConfig | GatedConfig | AttentionConfig


@dataclass(frozen=True)
class Mixers:
    """The configuration behind each letter of a pattern; one field a letter."""

    H: HyenaConfig = field(default_factory=HyenaConfig)
    """Hyena, order N, implicit filter."""
    R: GatedConvConfig = field(default_factory=GatedConvConfig)
    """Complex modal (StripedHyena 1)."""
    S: ExplicitConvConfig = field(default_factory=ExplicitConvConfig)
    """SE: short explicit (StripedHyena 2)."""
    M: ExplicitConvConfig = field(default_factory=_medium)
    """MR: medium regularised (StripedHyena 2)."""
    L: RealModalConvConfig = field(default_factory=RealModalConvConfig)
    """LI: long implicit, real modal (StripedHyena 2)."""
    D: ExplicitConvConfig = field(default_factory=_double_gated)
    """Double-gated short convolution."""
    A: AttentionConfig = field(default_factory=AttentionConfig)
    """Attention."""
    W: AttentionConfig = field(default_factory=lambda: AttentionConfig(window=128))
    """Windowed (local) attention."""

    def __post_init__(self) -> None:
        """Keep the letters true to their names."""
        validate(self)
        if self.A.window is not None:
            raise HyenaError(f"mixers.A.window is {self.A.window}: letter A is full attention; use letter W for a window")
        if self.W.window is None:
            raise HyenaError("mixers.W.window is none: letter W needs a window; use letter A for full attention")


LETTERS: dict[str, str] = {
    "H": "Hyena, order N, implicit filter",
    "R": "complex modal (StripedHyena 1)",
    "S": "SE",
    "M": "MR",
    "L": "LI",
    "D": "double-gated short convolution",
    "A": "attention",
    "W": "windowed (local) attention",
}


def letters() -> dict[str, str]:
    """The letters a pattern may hold, each with what it stands for."""
    return dict(LETTERS)
