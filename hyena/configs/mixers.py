"""Every knob of every sequence mixer, and the letters that stand for them in a pattern.

A knob is written once, here; the module that uses it takes the whole dataclass. What a mixer shares with its model
(width, `max_length`, `beyond`) belongs to `ModelConfig`.
"""

from dataclasses import dataclass, field
from typing import Literal

from hyena.configs.files import validate
from hyena.errors import HyenaError

Beyond = Literal["error", "truncate", "extend"]
Activation = Literal["identity", "gelu", "gelu_tanh", "relu", "silu", "sigmoid", "tanh"]


def _check_dropout(dropout: float) -> None:
    """A probability below 1."""
    if not 0 <= dropout < 1:
        raise HyenaError(f"dropout is {dropout}: use a number from 0 up to, not including, 1")


@dataclass(frozen=True)
class ImplicitFilterConfig:
    """The implicit filter of Hyena: a sine MLP of positional features under an exponential window (arXiv 2302.10866, 3.3).

    Defaults that differ from the published values won the comparison in reports/ablation.md; presets keep the published ones.
    """

    features: int = 33
    """Positional features of a tap (odd): its time, then cosines and sines of (features - 1) / 2 frequencies."""
    width: int = 64
    """Width of the MLP."""
    inner_layers: int = 2
    """Hidden layers between the first and the last linear map."""
    frequency: float = 5.0
    """Initial frequency of the sine activations; one trainable vector is shared by all layers. Published: 10 and 14."""
    train_features: bool = False
    """Whether the positional features are parameters (they start at their formula)."""
    window: Literal["exponential", "none"] = "exponential"
    """Window over the taps: exp(-t |delta|) + shift, or none."""
    decay_target: float = 1e-2
    """Value that the window reaches at the fractions of the grid named by fast_decay and slow_decay."""
    fast_decay: float = 0.03
    """Fraction of the grid after which the fastest channel has decayed to decay_target. Published: 0.3."""
    slow_decay: float = 1.5
    """The same for the slowest channel."""
    shift: float = 0.0
    """Floor of the window. safari trained with 0, the published HyenaDNA inference code uses 0.05."""
    channel_norm: bool = False
    """Divide each tap by its L1 norm over the channels (safari's `normalized`)."""
    init_std: float | None = 0.02
    """Standard deviation of the MLP's initial weights; none: the model's init_std, as published."""

    def __post_init__(self) -> None:
        """Reject sizes for which the formulas have no meaning."""
        validate(self)
        if self.features < 3 or self.features % 2 == 0:
            raise HyenaError(f"filter.features is {self.features}: use an odd number of at least 3 (time, cosines, sines)")
        if self.width < 1 or self.inner_layers < 0:
            raise HyenaError(f"filter.width {self.width} must be >= 1 and filter.inner_layers {self.inner_layers} >= 0")
        for name in ("decay_target", "fast_decay", "slow_decay"):
            if getattr(self, name) <= 0:
                raise HyenaError(f"filter.{name} is {getattr(self, name)}: use a number above 0")
        if self.init_std is not None and not self.init_std >= 0:
            raise HyenaError(f"filter.init_std is {self.init_std}: use 0 or more, or leave it out for the model's")


@dataclass(frozen=True)
class ModalFilterConfig:
    """The modal filter: Re sum_n R_n lam_n^t over complex poles (StripedHyena 1), behind an exact head where there is one."""

    order: int = 16
    """S: complex poles of a filter, their conjugates implied: 2 S real states a channel."""
    head: int = 0
    """K_head: leading taps that are parameters of their own; the modes serve lags >= head."""
    r_min: float = 0.9
    """Initial |lam| are uniform from here ..."""
    r_max: float = 0.999
    """... to here: modes that last for 10 to 1,000 tokens with the defaults."""

    def __post_init__(self) -> None:
        """Reject orders, heads and poles that do not exist."""
        validate(self)
        if self.order < 1:
            raise HyenaError(f"modal order is {self.order}: use at least 1 pole")
        if self.head < 0:
            raise HyenaError(f"modal head is {self.head}: use 0 for none")
        if not 0 < self.r_min <= self.r_max < 1:
            raise HyenaError(f"r_min is {self.r_min} and r_max {self.r_max}: use 0 < r_min <= r_max < 1")


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
        if self.window is not None and self.window < 1:
            raise HyenaError(f"window is {self.window}: use at least 1, or none for full attention")
        if self.rotary_width is not None and (self.rotary_width < 0 or self.rotary_width % 2):
            raise HyenaError(f"rotary_width is {self.rotary_width}: use an even number, or 0 for none")


@dataclass(frozen=True)
class GatedConvConfig:
    """R: one long convolution between two gates, its filter a complex modal one (StripedHyena 1)."""

    short_taps: int = 3
    """Taps of the depthwise convolution after the input projection."""
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
        if self.short_taps < 1:
            raise HyenaError(f"short_taps is {self.short_taps}: use at least 1")


MixerConfig = HyenaConfig | GatedConvConfig | AttentionConfig


@dataclass(frozen=True)
class Mixers:
    """The configuration behind each letter of a pattern; one field a letter."""

    H: HyenaConfig = field(default_factory=HyenaConfig)
    """Hyena, order N, implicit filter."""
    R: GatedConvConfig = field(default_factory=GatedConvConfig)
    """Complex modal (StripedHyena 1)."""
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
    "A": "attention",
    "W": "windowed (local) attention",
}


def letters() -> dict[str, str]:
    """The letters a pattern may hold, each with what it stands for."""
    return dict(LETTERS)
